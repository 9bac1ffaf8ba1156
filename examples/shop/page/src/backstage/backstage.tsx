import { Pulse, Trouble } from "../parts";
import { nameOf, perSecond, type Sample, shares } from "./history";
import { LoadSwitch } from "./load_switch";
import { ReplicaCard, type Scales } from "./replica_card";
import { history, watchFailure, watching } from "./watch";

const RATE_WINDOW_MILLIS = 2_000;
const SHARE_WINDOW_MILLIS = 5_000;

/** The replicas behind the market, and what one can do to them. */
export function Backstage() {
  const samples = history.value;
  const now = samples.at(-1);
  const parts = shares(samples, SHARE_WINDOW_MILLIS);
  const scales = scalesOf(samples);
  return (
    <section class="backstage" aria-labelledby="backstage-title" data-testid="backstage">
      <div class="backstage-head">
        <div>
          <h1 id="backstage-title">Backstage</h1>
          <p class="lead">Any of these replicas can answer for the catalog. Slow one or kill one: visitors should not notice.</p>
        </div>
        <Pulse following={watching.value} testId="watching" />
      </div>
      {watchFailure.value && <Trouble failure={watchFailure.value} testId="watch-error" />}
      <div class="backstage-top">
        <LoadSwitch />
        <section class="card traffic" aria-labelledby="traffic-title">
          <h2 id="traffic-title">Traffic</h2>
          <Totals samples={samples} now={now} />
          <ShareBar samples={samples} parts={parts} />
        </section>
      </div>
      <div class="replicas">
        {now?.replicas.map((replica, index) => (
          <ReplicaCard
            key={replica.address}
            replica={replica}
            index={index}
            share={parts.get(replica.address) ?? 0}
            scales={scales}
          />
        ))}
      </div>
    </section>
  );
}

function Totals({ samples, now }: { samples: readonly Sample[]; now: Sample | undefined }) {
  const calls = perSecond(samples, RATE_WINDOW_MILLIS, (sample) => sample.calls);
  return (
    <dl class="figures totals">
      <div>
        <dt>Calls a second</dt>
        <dd data-testid="total-rate">{calls.toFixed(0)}</dd>
      </div>
      <div>
        <dt>Calls</dt>
        <dd data-testid="total-calls">{(now?.calls ?? 0).toLocaleString("en")}</dd>
      </div>
      <div>
        <dt>Failed calls</dt>
        <dd class={now && now.failedCalls > 0 ? "bad" : ""} data-testid="total-failed">
          {(now?.failedCalls ?? 0).toLocaleString("en")}
        </dd>
      </div>
      <div>
        <dt>Retries</dt>
        <dd data-testid="total-retries">{(now?.retries ?? 0).toLocaleString("en")}</dd>
      </div>
    </dl>
  );
}

function ShareBar(props: { samples: readonly Sample[]; parts: ReadonlyMap<string, number> }) {
  const replicas = props.samples.at(-1)?.replicas ?? [];
  const quiet = [...props.parts.values()].every((part) => part === 0);
  return (
    <div class="shares">
      <div class="shares-bar" aria-hidden="true">
        {replicas.map(({ address }, index) => {
          const part = props.parts.get(address) ?? 0;
          return (
            <div
              key={address}
              class={`share series-${index % 5}`}
              style={{ inlineSize: `${part * 100}%` }}
              data-testid="share"
              data-address={address}
              data-share={part.toFixed(3)}
            />
          );
        })}
      </div>
      <ul class="shares-legend">
        {quiet && <li>No calls in the last seconds</li>}
        {!quiet &&
          replicas.map(({ address }, index) => (
            <li key={address} class={`series-${index % 5}`}>
              {nameOf(props.samples, address)} <b>{Math.round((props.parts.get(address) ?? 0) * 100)} %</b>
            </li>
          ))}
      </ul>
    </div>
  );
}

function scalesOf(samples: readonly Sample[]): Scales {
  const all = samples.flatMap(({ replicas }) => replicas);
  return {
    rate: Math.max(5, ...all.map(({ rate }) => rate)),
    millis: Math.max(10, ...all.map(({ p99Millis }) => p99Millis)),
  };
}
