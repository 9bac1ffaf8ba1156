import { millis } from "../format";
import { Choice } from "../parts";
import { counts, loading, quantile, rate, RATES, setLoading } from "./load";

const OPTIONS = RATES.map((value) => ({ value, text: `${value}/s`, testId: `load-rate-${value}` }));

/** Makes this page itself call the catalog all the time, and says what came of it. */
export function LoadSwitch() {
  const { ok, failed, latencies, lastFailure } = counts.value;
  const on = loading.value;
  return (
    <section class={`card load ${on ? "on" : ""}`} aria-labelledby="load-title">
      <div class="load-switch">
        <h2 id="load-title">Load</h2>
        <button
          type="button"
          role="switch"
          class="switch"
          aria-checked={on}
          aria-label="Call the catalog all the time"
          onClick={() => setLoading(!on)}
          data-testid="load-toggle"
        >
          <span />
        </button>
      </div>
      <p class="fine">This page lists the products all the time, as many visitors would.</p>
      <Choice
        label="Calls a second"
        name="load-rate"
        options={OPTIONS}
        value={rate.value}
        onChoose={(value) => (rate.value = value)}
      />
      <dl class="figures">
        <div>
          <dt>Answered</dt>
          <dd data-testid="load-ok">{ok.toLocaleString("en")}</dd>
        </div>
        <div>
          <dt>Failed</dt>
          <dd class={failed > 0 ? "bad" : ""} data-testid="load-failed">
            {failed.toLocaleString("en")}
          </dd>
        </div>
        <div>
          <dt>p50 here</dt>
          <dd>{millis(quantile(latencies, 0.5))}</dd>
        </div>
        <div>
          <dt>p99 here</dt>
          <dd>{millis(quantile(latencies, 0.99))}</dd>
        </div>
      </dl>
      {lastFailure && (
        <p class="fine bad" data-testid="load-failure">
          {lastFailure.title}. {lastFailure.detail}
        </p>
      )}
    </section>
  );
}
