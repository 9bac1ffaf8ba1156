import { Code, ConnectError } from "@connectrpc/connect";

/** A failed call in words a visitor understands. */
export interface Explanation {
  /** What happened. */
  readonly title: string;
  /** What the shop said about it, or what to do. */
  readonly detail: string;
  /** gRPC's name of the status, for whoever looks closer. */
  readonly code: string;
}

const TITLES: Partial<Record<Code, string>> = {
  [Code.Canceled]: "The call was cancelled",
  [Code.InvalidArgument]: "The shop cannot take this as it is",
  [Code.DeadlineExceeded]: "The shop took too long to answer",
  [Code.NotFound]: "The shop does not know this",
  [Code.AlreadyExists]: "This is there already",
  [Code.PermissionDenied]: "This is not allowed",
  [Code.ResourceExhausted]: "That was too much at once",
  [Code.FailedPrecondition]: "This is not possible right now",
  [Code.Aborted]: "Something else got in between",
  [Code.OutOfRange]: "This lies out of range",
  [Code.Unimplemented]: "The shop does not offer this",
  [Code.Unavailable]: "The shop cannot be reached right now",
  [Code.Unauthenticated]: "The shop does not know who you are",
};

/** A definite no: nothing was done, and the same call again would get the same answer. */
const REFUSALS = new Set([
  Code.InvalidArgument,
  Code.NotFound,
  Code.AlreadyExists,
  Code.PermissionDenied,
  Code.FailedPrecondition,
  Code.OutOfRange,
  Code.Unimplemented,
  Code.Unauthenticated,
]);

/** Whether the shop refused a call, so that trying the same again is no use. */
export function isRefusal(failure: unknown): boolean {
  return REFUSALS.has(ConnectError.from(failure).code);
}

/** Puts any failure of a call into words. */
export function explain(failure: unknown): Explanation {
  const error = ConnectError.from(failure);
  // fetch tells a network failure only by a TypeError.
  if (failure instanceof TypeError || error.cause instanceof TypeError) {
    return {
      title: "The shop cannot be reached right now",
      detail: "No answer from the gateway. Is it running?",
      code: codeName(Code.Unavailable),
    };
  }
  return {
    title: TITLES[error.code] ?? "Something went wrong in the shop",
    detail: sentence(error.rawMessage),
    code: codeName(error.code),
  };
}

/** `FailedPrecondition` → `FAILED_PRECONDITION`, as gRPC writes it. */
export function codeName(code: Code): string {
  if (code === Code.Canceled) {
    return "CANCELLED";
  }
  return Code[code].replace(/(?<=[a-z])(?=[A-Z])/g, "_").toUpperCase();
}

function sentence(text: string): string {
  const trimmed = text.trim();
  if (trimmed === "") {
    return "";
  }
  const upper = trimmed.charAt(0).toUpperCase() + trimmed.slice(1);
  return /[.!?]$/.test(upper) ? upper : `${upper}.`;
}
