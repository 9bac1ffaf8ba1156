import { effect, type Signal, signal } from "@preact/signals";

/** A signal that outlives the page, as text in the browser's storage. */
export function stored(key: string, fallback: string): Signal<string> {
  const value = signal(read(key) ?? fallback);
  effect(() => {
    try {
      localStorage.setItem(key, value.value);
    } catch {
      // Storage may be off or full; the page then forgets when it is closed.
    }
  });
  return value;
}

function read(key: string): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}
