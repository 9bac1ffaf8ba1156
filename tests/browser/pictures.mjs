// Takes docs/shop.png, three real views on one sheet: the dashboard under load with one replica killed and one
// slowed, the market, a parcel under way.

import { launch, placeOrder, putInCart, visitWith } from "./visitor.mjs";

/** Long enough for charts that show something. */
const CALM_MILLIS = 25_000;
const TROUBLED_MILLIS = 20_000;

const [path] = process.argv.slice(2);

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
    return await page.screenshot();
  } finally {
    await card(1).getByTestId("slow-0").click();
    await card(2).getByTestId("start").click();
  }
}

async function market(page) {
  for (const place of [0, 1, 1, 4]) await putInCart(page, place);
  await page.mouse.move(0, 0);
  return page.screenshot();
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
  return page.screenshot();
}

/** The views on one sheet: the first over the whole width, the others side by side below. */
async function sheet(browser, views) {
  const page = await browser.newPage({ viewport: { width: 1600, height: 900 } });
  const images = views.map((view) => `<img src="data:image/png;base64,${view.toString("base64")}">`);
  await page.setContent(`<style>
    body { display: grid; grid-template-columns: 1fr 1fr; gap: 24px; margin: 0; padding: 24px; background: #e6e3da; }
    img { display: block; width: 100%; border-radius: 14px; box-shadow: 0 10px 34px -14px #0007; }
    img:first-child { grid-column: 1 / -1; }
  </style>${images.join("")}`);
  await page.screenshot({ path, fullPage: true });
}

const browser = await launch();
try {
  const take = async (view, options) => {
    let picture;
    await visitWith(browser, async (page) => (picture = await view(page)), options);
    return picture;
  };
  const side = [await take(market), await take(parcel)];
  await sheet(browser, [await take(dashboard, { at: "#/backstage" }), ...side]);
} finally {
  await browser.close();
}
