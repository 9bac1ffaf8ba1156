import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { timestampDate } from "@bufbuild/protobuf/wkt";

const euros = new Intl.NumberFormat("en", { style: "currency", currency: "EUR" });
const clock = new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const shortClock = new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });

/** `1250` → `€12.50`. */
export function money(cents: number | bigint): string {
  return euros.format(Number(cents) / 100);
}

/** A time of day with seconds; empty when there is none. */
export function timeOfDay(at: Timestamp | undefined): string {
  return at ? clock.format(timestampDate(at)) : "";
}

/** A time of day without seconds; empty when there is none. */
export function shortTime(at: Timestamp | undefined): string {
  return at ? shortClock.format(timestampDate(at)) : "";
}

/** A duration with as many digits as one reads: `0.8 ms`, `12 ms`, `1.3 s`; a dash for none. */
export function millis(value: number): string {
  if (value <= 0) {
    return "–";
  }
  if (value < 10) {
    return `${value.toFixed(1)} ms`;
  }
  return value < 1_000 ? `${Math.round(value)} ms` : `${(value / 1_000).toFixed(1)} s`;
}

/** A count with its word: `1 product`, `3 products`. */
export function count(amount: number, word: string): string {
  return `${amount.toLocaleString("en")} ${word}${amount === 1 ? "" : "s"}`;
}
