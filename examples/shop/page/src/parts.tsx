import type { ComponentChildren } from "preact";
import type { Explanation } from "./rpc/explain";
import type { Following } from "./rpc/follow";

/** A failed call in words, with a way to try again where that may help. */
export function Trouble(props: { failure: Explanation; onRetry?: (() => void) | undefined; testId?: string }) {
  const { failure, onRetry, testId = "trouble" } = props;
  return (
    <div class="trouble" role="alert" data-testid={testId} data-code={failure.code}>
      <span class="trouble-mark" aria-hidden="true">
        !
      </span>
      <div class="trouble-words">
        <strong>{failure.title}</strong>
        {failure.detail && <p>{failure.detail}</p>}
        <code>{failure.code}</code>
      </div>
      {onRetry && (
        <button type="button" class="button small" onClick={onRetry}>
          Try again
        </button>
      )}
    </div>
  );
}

const FOLLOWING_WORDS: Record<Following, string> = {
  connecting: "Connecting",
  live: "Live",
  waiting: "Reconnecting",
  ended: "Not live",
};

/** How a stream fares; `words` instead of the usual ones. */
export function Pulse(props: { following: Following; testId: string; words?: string | undefined }) {
  const { following, testId, words = FOLLOWING_WORDS[following] } = props;
  return (
    <span class={`pulse ${following}`} data-testid={testId} data-following={following}>
      {words}
    </span>
  );
}

/** What stands where there is nothing yet. */
export function Nothing(props: { symbol: string; title: string; children?: ComponentChildren }) {
  return (
    <div class="nothing">
      <span class="nothing-symbol" aria-hidden="true">
        {props.symbol}
      </span>
      <p class="nothing-title">{props.title}</p>
      {props.children}
    </div>
  );
}

/** A picture of a product: its symbol on a tinted tile. */
export function Art(props: { seed: string; emoji: string; size: "large" | "small" }) {
  return (
    <span class={`art ${props.size} tint-${tint(props.seed)}`} aria-hidden="true">
      {props.emoji}
    </span>
  );
}

const TINTS = 6;

/** The same product has the same tint everywhere. */
function tint(seed: string): number {
  let sum = 0;
  for (const char of seed) {
    sum = (sum * 31 + (char.codePointAt(0) ?? 0)) % 9_973;
  }
  return sum % TINTS;
}

/** A few choices of which one holds, as a group of radio buttons. */
export function Choice<T extends string | number>(props: {
  label: string;
  name: string;
  options: ReadonlyArray<{ readonly value: T; readonly text: string; readonly testId: string }>;
  value: T | undefined;
  onChoose: (value: T) => void;
  disabled?: boolean;
}) {
  return (
    <fieldset class="choice" disabled={props.disabled ?? false}>
      <legend>{props.label}</legend>
      <div class="choice-options">
        {props.options.map(({ value, text, testId }) => (
          <label key={text} data-testid={testId}>
            <input
              type="radio"
              name={props.name}
              checked={props.value === value}
              onChange={() => props.onChoose(value)}
            />
            <span>{text}</span>
          </label>
        ))}
      </div>
    </fieldset>
  );
}
