import { signal, useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { shortTime } from "../format";
import { Trouble } from "../parts";
import { awaiting, chatFailure, listen, MAX_TEXT, messages, say, saying } from "./room";

const open = signal(false);

/** The button in the corner, and the room it opens. */
export function Chat() {
  return open.value ? <Room /> : <OpenButton />;
}

function OpenButton() {
  return (
    <button type="button" class="chat-open" onClick={() => (open.value = true)} data-testid="chat-open">
      <span aria-hidden="true">💬</span>
      <span class="chat-open-words">Ask us</span>
    </button>
  );
}

function Room() {
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => listen(), []);
  useEffect(() => {
    field.current?.focus();
  }, []);
  const close = () => {
    open.value = false;
  };
  return (
    <section
      class="chat"
      aria-labelledby="chat-title"
      onKeyDown={(event) => {
        if (event.key === "Escape") {
          close();
        }
      }}
      data-testid="chat"
    >
      <header class="chat-head">
        <div>
          <h2 id="chat-title">Ask us</h2>
          <p class="fine">The harbour office answers at once.</p>
        </div>
        <button type="button" class="icon-button" aria-label="Close the chat" onClick={close} data-testid="chat-close">
          ✕
        </button>
      </header>
      <Messages />
      {chatFailure.value && <Trouble failure={chatFailure.value} testId="chat-error" />}
      <Composer field={field} />
    </section>
  );
}

function Messages() {
  const list = useRef<HTMLDivElement>(null);
  const shown = messages.value;
  useEffect(() => {
    list.current?.scrollTo({ top: list.current.scrollHeight });
  }, [shown.length, saying.value]);
  return (
    <div class="chat-messages" role="log" aria-live="polite" aria-label="What was said" tabIndex={0} ref={list}>
      <ol>
        {shown.length === 0 && saying.value === undefined && (
          <li class="chat-hello fine">Where is my parcel? Is the tea any good? Just ask.</li>
        )}
        {shown.map((message, index) => (
          <li key={index} class={`said ${message.from}`} data-testid="chat-message" data-from={message.from}>
            <span class="said-text">{message.text}</span>
            <span class="said-by">
              {message.from === "you" ? "You" : "Harbour office"} <time>{shortTime(message.at)}</time>
            </span>
          </li>
        ))}
        {saying.value !== undefined && (
          <li class="said you sending">
            <span class="said-text">{saying.value}</span>
            <span class="said-by">Sending…</span>
          </li>
        )}
        {saying.value === undefined && awaiting.value && (
          <li class="typing" aria-hidden="true">
            <i />
            <i />
            <i />
          </li>
        )}
      </ol>
    </div>
  );
}

function Composer({ field }: { field: { current: HTMLInputElement | null } }) {
  const text = useSignal("");
  const send = async (event: Event) => {
    event.preventDefault();
    const draft = text.peek();
    text.value = "";
    const arrived = await say(draft);
    if (!arrived && text.peek() === "") {
      text.value = draft;
    }
  };
  return (
    <form class="chat-composer" onSubmit={(event) => void send(event)}>
      <label class="unseen" for="chat-text">
        Your message
      </label>
      <input
        id="chat-text"
        ref={field}
        value={text.value}
        maxLength={MAX_TEXT}
        autocomplete="off"
        placeholder="Write a message"
        onInput={(event) => {
          text.value = event.currentTarget.value;
        }}
        data-testid="chat-input"
      />
      <button type="submit" class="button primary" disabled={text.value.trim() === ""} data-testid="chat-send">
        Send
      </button>
    </form>
  );
}
