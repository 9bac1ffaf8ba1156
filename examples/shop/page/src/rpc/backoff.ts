/** Delays between tries to reach the shop again: they grow, with jitter, to a limit. */
export class Backoff {
  private tries = 0;

  constructor(
    private readonly random: () => number = Math.random,
    private readonly initialMillis = 300,
    private readonly factor = 1.6,
    private readonly maxMillis = 5_000,
  ) {}

  /** How long to wait before the next try. */
  nextMillis(): number {
    const full = Math.min(this.maxMillis, this.initialMillis * this.factor ** this.tries);
    this.tries += 1;
    // Half fixed, half random: pages that lost the shop together do not come back together.
    return full * (0.5 + this.random() / 2);
  }

  /** The last try worked. */
  reset(): void {
    this.tries = 0;
  }
}
