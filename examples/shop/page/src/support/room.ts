import { timestampNow } from "@bufbuild/protobuf/wkt";
import { computed, signal } from "@preact/signals";
import { newKey } from "../cart/visitor_cart";
import type { ChatMessage } from "../gen/shop/v1/support_pb";
import { Backoff } from "../rpc/backoff";
import { CALL_TIMEOUT_MILLIS, clients, whileConnected } from "../rpc/clients";
import { explain, type Explanation } from "../rpc/explain";
import { follow, type Following } from "../rpc/follow";
import { stored } from "../stored";

/** As the shop's proto says. */
export const MAX_TEXT = 2_000;

const roomName = stored("sampan.room", `page-${newKey().slice(0, 12)}`);

/** What was said in the visitor's room, oldest first. */
export const messages = signal<readonly ChatMessage[]>([]);
/** How listening fares. */
export const listening = signal<Following>("connecting");
/** Why the last thing was not said, or nothing is heard. */
export const chatFailure = signal<Explanation | undefined>(undefined);
/** What is being said at the moment. */
export const saying = signal<string | undefined>(undefined);

/** Whether an answer is awaited. */
export const awaiting = computed(() => saying.value !== undefined || messages.value.at(-1)?.from === "you");

/** Listens in the visitor's room; returns what stops it. */
export function listen(): () => void {
  return whileConnected((abort) => {
    const { support } = clients.peek();
    void follow(
      {
        open: (attempt) => support.listen({ room: roomName.peek() }, { signal: attempt }),
        onMessage: (message, first) => {
          // Each try tells everything from the beginning.
          messages.value = first ? [message] : [...messages.peek(), message];
        },
        onState: (state, problem) => {
          listening.value = state;
          chatFailure.value = problem === undefined ? undefined : explain(problem);
        },
        endsByItself: false,
        backoff: new Backoff(),
      },
      abort,
    );
  });
}

/** Says something; true when it arrived. */
export async function say(text: string): Promise<boolean> {
  const wanted = text.trim();
  if (wanted === "" || saying.peek() !== undefined) {
    return false;
  }
  saying.value = wanted;
  chatFailure.value = undefined;
  try {
    await clients
      .peek()
      .support.say(
        { room: roomName.peek(), from: "you", text: wanted, at: timestampNow() },
        { timeoutMs: CALL_TIMEOUT_MILLIS },
      );
    return true;
  } catch (failure) {
    chatFailure.value = explain(failure);
    return false;
  } finally {
    saying.value = undefined;
  }
}
