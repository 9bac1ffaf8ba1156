/** Decides how many calls are due, so that they come at an even rate and never pile up. */
export class Pacer {
  private credit = 0;
  private last: number | undefined;

  constructor(
    private readonly perSecond: number,
    private readonly maxInFlight: number,
  ) {}

  /** How many calls to start at `nowMillis` while `inFlight` are running. */
  due(nowMillis: number, inFlight: number): number {
    const elapsed = this.last === undefined ? 0 : Math.max(0, nowMillis - this.last);
    this.last = nowMillis;
    // What could not start is forgotten beyond the bound: a slow shop is not flooded when it recovers.
    this.credit = Math.min(this.maxInFlight, this.credit + (elapsed * this.perSecond) / 1_000);
    const starting = Math.max(0, Math.min(Math.floor(this.credit), this.maxInFlight - inFlight));
    this.credit -= starting;
    return starting;
  }
}
