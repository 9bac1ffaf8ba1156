import { millis } from "../format";
import { Choice, Trouble } from "../parts";
import { actionFailures, doing, kill, slow, start } from "./actions";
import { type Health, KEPT, nameOf, type ReplicaSample, series } from "./history";
import { Sparkline } from "./sparkline";
import { health, history } from "./watch";

const WORDS: Record<Health, string> = {
  serving: "Serving",
  idle: "Idle",
  connecting: "Connecting",
  down: "Down",
};

const DELAYS = [
  { value: 0, text: "None", testId: "slow-0" },
  { value: 100, text: "100 ms", testId: "slow-100" },
  { value: 500, text: "500 ms", testId: "slow-500" },
];

/** Upper ends of the scales that all replicas share, so that they compare. */
export interface Scales {
  readonly rate: number;
  readonly millis: number;
}

/** One replica: how it is, what it does, and the buttons that trouble it. */
export function ReplicaCard(props: { replica: ReplicaSample; index: number; share: number; scales: Scales }) {
  const { replica, index, share, scales } = props;
  const { address } = replica;
  const state = health.value.get(address) ?? "connecting";
  const busy = doing.value.get(address);
  const failure = actionFailures.value.get(address);
  const name = nameOf(history.value, address);
  return (
    <article
      class={`card replica series-${index % 5} ${state}`}
      aria-label={name}
      data-testid="replica-card"
      data-address={address}
      data-health={state}
      data-state={replica.state}
    >
      <header class="replica-head">
        <div>
          <h3>{name}</h3>
          <span class="mono fine">{address}</span>
        </div>
        <span class={`badge health-${state}`} role="status" data-testid="replica-health">
          {WORDS[state]}
        </span>
      </header>
      <div class="replica-charts">
        <Chart
          title="Calls a second"
          now={replica.rate.toFixed(replica.rate < 10 ? 1 : 0)}
          testId="replica-rate"
          kind="rate"
          values={series(history.value, address, ({ rate }) => rate)}
          top={scales.rate}
        />
        <Chart
          title="p99"
          now={millis(replica.p99Millis)}
          testId="replica-p99"
          kind="latency"
          values={series(history.value, address, ({ p99Millis }) => p99Millis)}
          top={scales.millis}
        />
      </div>
      <dl class="figures">
        <Figure term="p50" testId="replica-p50" value={millis(replica.p50Millis)} />
        <Figure term="Share" testId="replica-share" value={`${Math.round(share * 100)} %`} />
        <Figure term="In flight" testId="replica-in-flight" value={replica.inFlight.toLocaleString("en")} />
        <Figure term="Attempts" testId="replica-attempts" value={replica.attempts.toLocaleString("en")} />
        <Figure
          term="Failed"
          testId="replica-failed"
          value={replica.failedAttempts.toLocaleString("en")}
          bad={replica.failedAttempts > 0}
        />
      </dl>
      <footer class="replica-foot">
        <Choice
          label="Extra delay"
          name={`delay-${address}`}
          options={DELAYS}
          value={replica.delayMillis}
          onChoose={(delay) => void slow(address, delay)}
          disabled={busy !== undefined || state === "down"}
        />
        {state === "down" ? (
          <button
            type="button"
            class="button primary"
            disabled={busy !== undefined}
            onClick={() => void start(address)}
            data-testid="start"
          >
            {busy ?? "Bring back"}
          </button>
        ) : (
          <button
            type="button"
            class="button danger"
            disabled={busy !== undefined}
            onClick={() => void kill(address)}
            data-testid="kill"
          >
            {busy ?? "Kill"}
          </button>
        )}
      </footer>
      {failure && <Trouble failure={failure} testId="replica-error" />}
    </article>
  );
}

function Chart(props: {
  title: string;
  now: string;
  testId: string;
  kind: string;
  values: readonly number[];
  top: number;
}) {
  return (
    <figure class="chart">
      <figcaption>
        <span class="fine">{props.title}</span>
        <strong data-testid={props.testId}>{props.now}</strong>
      </figcaption>
      <Sparkline
        kind={props.kind}
        values={props.values}
        slots={KEPT}
        top={props.top}
        label={`${props.title}, the last minute; now ${props.now}`}
      />
    </figure>
  );
}

function Figure(props: { term: string; value: string; testId: string; bad?: boolean }) {
  return (
    <div>
      <dt>{props.term}</dt>
      <dd class={props.bad ? "bad" : ""} data-testid={props.testId}>
        {props.value}
      </dd>
    </div>
  );
}
