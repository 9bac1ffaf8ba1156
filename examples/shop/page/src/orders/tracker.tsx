import { timeOfDay } from "../format";
import { Stage } from "../gen/shop/v1/orders_pb";
import { Pulse } from "../parts";
import type { Parcel } from "./parcel";
import { headline, STEPS, stepOf } from "./stages";

/** A parcel's way: the line it travels, and each step with its time. */
export function Tracker({ parcel }: { parcel: Parcel }) {
  const stage = parcel.stage.value;
  const step = stepOf(stage);
  const events = parcel.events.value;
  const along = `${parcel.progress.value * 100}%`;
  return (
    <section class="card tracker" aria-labelledby="tracker-title" data-testid="tracker" data-stage={step.id}>
      <div class="tracker-head">
        <h2 id="tracker-title" aria-live="polite">
          {headline(stage)}
        </h2>
        <Pulse
          following={parcel.following.value}
          testId="tracker-following"
          words={stage === Stage.DELIVERED ? "Arrived" : undefined}
        />
      </div>
      <div class="way" aria-hidden="true">
        <div class="way-line">
          <div class="way-done" style={{ inlineSize: along }} />
          <div class="way-boat" style={{ insetInlineStart: along }}>
            {step.symbol}
          </div>
        </div>
        <ol class="way-steps">
          {STEPS.map(({ id, name, stage: reached }) => (
            <li key={id} class={reached <= stage ? "reached" : ""} data-testid={`step-${id}`} data-reached={reached <= stage}>
              {name}
            </li>
          ))}
        </ol>
      </div>
      <ol class="events" aria-label="What happened so far" aria-live="polite" data-testid="events">
        {[...events].reverse().map((event) => (
          <li key={event.stage} data-testid="track-event" data-stage={stepOf(event.stage).id}>
            <span class="event-symbol" aria-hidden="true">
              {stepOf(event.stage).symbol}
            </span>
            <span class="event-words">
              <b>{stepOf(event.stage).name}</b>
              {event.note && <span>{event.note}</span>}
            </span>
            <time>{timeOfDay(event.at)}</time>
          </li>
        ))}
      </ol>
    </section>
  );
}
