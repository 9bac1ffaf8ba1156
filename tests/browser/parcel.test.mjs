import assert from "node:assert/strict";
import { test } from "node:test";
import { eventually, picture, placeOrder, putInCart, useBrowser } from "./visitor.mjs";

const browser = useBrowser();

const STAGES = ["placed", "paid", "packed", "on-the-way", "delivered"];
const STEP_MILLIS = Number(process.env.SHOP_STEP_MILLIS ?? 1_000);

test("a declined card is told in words, and another one pays", () =>
  browser.visit(
    async (page) => {
      await putInCart(page);
      await placeOrder(page);
      await page.getByTestId("use-declined-card").click();
      await page.getByTestId("pay").click();
      const trouble = page.getByTestId("pay-error");
      await trouble.getByText("The payment did not go through").waitFor();
      assert.match(await trouble.innerText(), /declined/i);
      assert.equal(await page.getByTestId("tracker").getAttribute("data-stage"), "placed");
      await picture(page, "declined");
      await page.getByTestId("use-good-card").click();
      await page.getByTestId("pay").click();
      await page.locator("[data-testid=track-event][data-stage=paid]").waitFor();
      // Paid: there is nothing more to pay.
      await page.getByTestId("payment").waitFor({ state: "detached" });
    },
    { mayFail: true },
  ));

test("the parcel's steps arrive as they happen, on one stream", () =>
  browser.visit(async (page) => {
    const streams = [];
    page.on("request", (request) => {
      if (request.url().endsWith("/shop.v1.Tracking/Track")) streams.push(request);
    });
    await putInCart(page);
    await placeOrder(page);
    await page.evaluate(noteArrivals);
    await page.locator("[data-testid=track-event][data-stage=placed]").waitFor();
    await page.getByTestId("pay").click();
    await page.locator("[data-testid=track-event][data-stage=paid]").waitFor();
    const soFar = await page.evaluate(() => window.arrivals.map(({ stage }) => stage));
    assert.ok(!soFar.includes("on-the-way"), `all at once: ${soFar}`);

    await page.locator("[data-testid=track-event][data-stage=on-the-way]").waitFor();
    await picture(page, "parcel");
    await page.locator("[data-testid=tracker][data-stage=delivered]").waitFor();
    const arrivals = await page.evaluate(() => window.arrivals);
    assert.deepEqual(arrivals.map(({ stage }) => stage), STAGES);
    const moved = arrivals.slice(1);
    for (const [index, { stage, at }] of moved.slice(1).entries()) {
      const gap = at - moved[index].at;
      assert.ok(gap > STEP_MILLIS / 2, `${stage} came ${gap} ms after ${moved[index].stage}`);
    }
    assert.equal(streams.length, 1);
    // The service ends the stream when there is nothing more to come.
    await page.locator("[data-testid=tracker-following][data-following=ended]").waitFor();
  }));

test("a parcel opened late shows its whole way", () =>
  browser.visit(async (page) => {
    await putInCart(page);
    await placeOrder(page);
    await page.getByTestId("pay").click();
    await page.locator("[data-testid=track-event][data-stage=packed]").waitFor();
    await page.reload();
    await page.locator("[data-testid=tracker][data-stage=delivered]").waitFor();
    const shown = await page.getByTestId("track-event").evaluateAll((rows) => rows.map((row) => row.dataset.stage));
    assert.deepEqual(shown.reverse(), STAGES);
  }));

test("the chat answers, and remembers the room after a reload", () =>
  browser.visit(async (page) => {
    await page.getByTestId("chat-open").click();
    await page.getByTestId("chat-input").fill("Where is my parcel?");
    await page.getByTestId("chat-input").press("Enter");
    const said = () =>
      page.getByTestId("chat-message").evaluateAll((rows) => rows.map((row) => row.dataset.from));
    await eventually("the answer", said, (from) => from[0] === "you" && from.includes("support"));
    assert.match(await page.locator("[data-testid=chat-message][data-from=you]").innerText(), /Where is my parcel\?/);
    await picture(page, "chat");
    const before = await said();
    await page.reload();
    await page.getByTestId("chat-open").click();
    await eventually("what was said", said, (from) => from.length >= before.length);
  }));

test("two rooms do not hear each other", () =>
  browser.visit(async (page) => {
    await page.getByTestId("chat-open").click();
    await page.getByText("Just ask.").waitFor();
    assert.equal(await page.getByTestId("chat-message").count(), 0);
  }));

/** In the page: notes when each step of the parcel appears. */
function noteArrivals() {
  window.arrivals = [];
  const note = () => {
    for (const row of document.querySelectorAll("[data-testid=track-event]")) {
      const { stage } = row.dataset;
      if (!window.arrivals.some((seen) => seen.stage === stage)) {
        window.arrivals.push({ stage, at: performance.now() });
      }
    }
  };
  note();
  new MutationObserver(note).observe(document.body, { subtree: true, childList: true });
}
