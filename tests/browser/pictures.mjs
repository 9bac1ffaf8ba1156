// Takes the pictures of docs/: the dashboard under load with one replica killed and one slowed, the market, a parcel.

import { join } from "node:path";
import { launch, placeOrder, putInCart, visitWith } from "./visitor.mjs";

/** Long enough for charts that show something. */
const CALM_MILLIS = 25_000;
const TROUBLED_MILLIS = 20_000;

const [folder] = process.argv.slice(2);
const keep = (page, name) => page.screenshot({ path: join(folder, name) });

async function dashboard(page) {
  await page.getByTestId("load-rate-50").click();
  await page.getByTestId("load-toggle").click();
  const card = (place) => page.getByTestId("replica-card").nth(place);
  await page.waitForTimeout(CALM_MILLIS);
  try {
    await card(1).getByTestId("slow-100").click();
    await card(2).getByTestId("kill").click();
    await page.waitForTimeout(TROUBLED_MILLIS);
    await page.mouse.move(0, 0);
    await keep(page, "shop.png");
  } finally {
    await card(1).getByTestId("slow-0").click();
    await card(2).getByTestId("start").click();
  }
}

async function market(page) {
  for (const place of [0, 1, 1, 4]) await putInCart(page, place);
  await page.mouse.move(0, 0);
  await keep(page, "shop-market.png");
}

async function parcel(page) {
  for (const place of [2, 3, 5]) await putInCart(page, place);
  await placeOrder(page);
  await page.getByTestId("pay").click();
  await page.getByTestId("chat-open").click();
  await page.getByTestId("chat-input").fill("Where is my parcel?");
  await page.getByTestId("chat-send").click();
  await page.locator("[data-testid=chat-message][data-from=support]").first().waitFor();
  await page.locator("[data-testid=tracker][data-stage=on-the-way]").waitFor();
  await keep(page, "shop-parcel.png");
}

const browser = await launch();
try {
  await visitWith(browser, market);
  await visitWith(browser, parcel);
  await visitWith(browser, dashboard, { at: "#/backstage" });
} finally {
  await browser.close();
}
