import { effect, signal } from "@preact/signals";
import type { Product } from "../gen/shop/v1/catalog_pb";
import { CALL_TIMEOUT_MILLIS, clients } from "../rpc/clients";
import { explain, type Explanation } from "../rpc/explain";

/** Typing pauses longer than this ask the shop. */
const TYPING_PAUSE_MILLIS = 150;

/** One answer of the catalog, and who gave it how fast. */
export interface Shelf {
  readonly products: readonly Product[];
  readonly query: string;
  readonly replica: string;
  readonly tookMillis: number;
}

/** What the visitor looks for. */
export const query = signal("");
/** The newest answer. */
export const shelf = signal<Shelf | undefined>(undefined);
/** Why there is no newer answer. */
export const shelfFailure = signal<Explanation | undefined>(undefined);

const asked = signal(0);
const symbols = new Map<string, string>();

/** Asks the catalog once more. */
export function askAgain(): void {
  asked.value += 1;
}

/** The picture of a product, as far as this page saw it. */
export function symbolOf(productId: string): string {
  // Subscribes: the picture may come with a later answer.
  void shelf.value;
  return symbols.get(productId) ?? "📦";
}

/** Asks the catalog now and whenever the query changes; returns what stops it. */
export function watchShelf(): () => void {
  return effect(() => {
    const wanted = query.value.trim();
    const { catalog } = clients.value;
    void asked.value;
    const controller = new AbortController();
    const timer = setTimeout(() => void ask(), shelf.peek() === undefined ? 0 : TYPING_PAUSE_MILLIS);

    async function ask(): Promise<void> {
      const start = performance.now();
      try {
        const answer = await catalog.listProducts(
          { query: wanted },
          { signal: controller.signal, timeoutMs: CALL_TIMEOUT_MILLIS },
        );
        for (const { id, emoji } of answer.products) {
          symbols.set(id, emoji);
        }
        shelf.value = {
          products: answer.products,
          query: wanted,
          replica: answer.replica,
          tookMillis: performance.now() - start,
        };
        shelfFailure.value = undefined;
      } catch (failure) {
        if (!controller.signal.aborted) {
          shelfFailure.value = explain(failure);
        }
      }
    }

    return () => {
      clearTimeout(timer);
      controller.abort();
    };
  });
}
