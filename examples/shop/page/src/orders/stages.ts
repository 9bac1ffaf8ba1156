import { Stage } from "../gen/shop/v1/orders_pb";

/** A step of a parcel's way, as the page names it. */
export interface Step {
  readonly stage: Stage;
  readonly id: string;
  readonly name: string;
  readonly symbol: string;
}

/** The whole way, in order. */
export const STEPS: readonly Step[] = [
  { stage: Stage.PLACED, id: "placed", name: "Placed", symbol: "📝" },
  { stage: Stage.PAID, id: "paid", name: "Paid", symbol: "💳" },
  { stage: Stage.PACKED, id: "packed", name: "Packed", symbol: "📦" },
  { stage: Stage.ON_THE_WAY, id: "on-the-way", name: "On the way", symbol: "🛶" },
  { stage: Stage.DELIVERED, id: "delivered", name: "Delivered", symbol: "🏡" },
];

/** The step of a stage; the first one for a stage this page does not know. */
export function stepOf(stage: Stage): Step {
  return STEPS.find((step) => step.stage === stage) ?? STEPS[0]!;
}

/** What is said at the top of an order. */
export function headline(stage: Stage): string {
  switch (stage) {
    case Stage.PAID:
      return "Thank you! We are getting it ready.";
    case Stage.PACKED:
      return "Packed and waiting for the boat.";
    case Stage.ON_THE_WAY:
      return "On its way to you.";
    case Stage.DELIVERED:
      return "Delivered. Enjoy!";
    default:
      return "Your order is placed.";
  }
}
