// A visitor of the shop: a page in a real Chromium, and what was wrong on it.

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { after, before } from "node:test";
import { chromium } from "playwright-core";

const { SHOP_URL, SHOP_PICTURES, CHROMIUM = "/usr/bin/chromium" } = process.env;
if (!SHOP_URL) throw new Error("SHOP_URL is not set; start these tests by tests/browser/run");

/** Where the shop is. */
export const shopUrl = SHOP_URL;

const WAIT_MILLIS = 20_000;
const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
const SIZES = { desktop: { width: 1440, height: 960 }, phone: { width: 390, height: 844 } };

/** Starts Chromium as the machine has it. */
export function launch() {
  return chromium.launch({ executablePath: CHROMIUM, args: FLAGS });
}

/** One browser for the tests of a file. */
export function useBrowser() {
  let browser;
  before(async () => {
    browser = await launch();
  });
  after(() => browser?.close());
  return {
    /** Lets a new visitor `act`, and fails when the page itself reported an error. */
    async visit(act, options) {
      await visitWith(browser, act, options);
    },
  };
}

/** Opens the shop as a new visitor in `browser` while `act` runs. */
export async function visitWith(browser, act, { size = "desktop", scheme = "light", at = "#/", mayFail = false } = {}) {
  const small = size === "phone";
  const context = await browser.newContext({
    viewport: SIZES[size],
    colorScheme: scheme,
    isMobile: small,
    hasTouch: small,
    reducedMotion: "reduce",
  });
  context.setDefaultTimeout(WAIT_MILLIS);
  const page = await context.newPage();
  const faults = [];
  page.on("pageerror", (error) => faults.push(String(error)));
  page.on("console", (message) => {
    if (message.type() === "error") faults.push(message.text());
  });
  try {
    await page.goto(`${shopUrl}/${at}`);
    await act(page);
    if (!mayFail) assert.deepEqual(faults, [], "errors in the browser's console");
  } finally {
    await context.close();
  }
}

/** Puts the product of that place on the shelf into the cart. */
export async function putInCart(page, place = 0) {
  await page.getByTestId("add-to-cart").nth(place).click();
}

/** Orders what is in the cart; returns the order's id. */
export async function placeOrder(page) {
  const bar = page.getByTestId("cart-bar");
  if (await bar.isVisible()) await bar.click();
  await page.getByTestId("place-order").click();
  return orderId(page);
}

/** The id of the order that the page shows. */
export async function orderId(page) {
  const shown = page.getByTestId("order-page");
  await shown.waitFor();
  return shown.getAttribute("data-order-id");
}

/** Waits until `read` gives something that satisfies `enough`; returns it. */
export async function eventually(what, read, enough, withinMillis = WAIT_MILLIS) {
  const end = Date.now() + withinMillis;
  for (;;) {
    const value = await read();
    if (enough(value)) return value;
    if (Date.now() > end) throw new Error(`${what}: still ${JSON.stringify(value)} after ${withinMillis} ms`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** The number an element shows. */
export async function numberIn(locator) {
  return Number((await locator.innerText()).replace(/[^\d.]/g, ""));
}

/** Keeps a picture when a folder for them was given. */
export async function picture(page, name, options = {}) {
  if (!SHOP_PICTURES) return;
  await mkdir(SHOP_PICTURES, { recursive: true });
  await page.screenshot({ path: join(SHOP_PICTURES, `${name}.png`), ...options });
}
