import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { test } from "node:test";
import { picture, placeOrder, putInCart, useBrowser } from "./visitor.mjs";

const browser = useBrowser();
const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** Leads through every view, and calls `look` on each. */
async function everyView(page, look) {
  await putInCart(page);
  await look("market");
  await placeOrder(page);
  await page.getByTestId("track-event").first().waitFor();
  await look("order");
  await page.getByTestId("chat-open").click();
  await page.getByTestId("chat-input").waitFor();
  await look("chat");
  await page.getByTestId("chat-close").click();
  await page.getByTestId("nav-orders").click();
  await page.getByTestId("order-row").first().waitFor();
  await look("orders");
  await page.getByTestId("nav-backstage").click();
  await page.getByTestId("replica-card").first().waitFor();
  await look("backstage");
}

for (const size of ["desktop", "phone"]) {
  for (const scheme of ["light", "dark"]) {
    test(`every view is accessible and fits its width: ${size}, ${scheme}`, () =>
      browser.visit(
        async (page) => {
          const faults = [];
          await everyView(page, async (view) => {
            await picture(page, `${size}-${scheme}-${view}`);
            const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
            if (over > 0) faults.push(`${view}: ${over} px wider than the window`);
            // By the debugger's channel: the page's own policy allows no other script.
            await page.evaluate(axe);
            const { violations } = await page.evaluate(() => globalThis.axe.run());
            faults.push(...violations.flatMap(({ id, nodes }) => nodes.map(({ target }) => `${view}: ${id} at ${target}`)));
          });
          assert.deepEqual(faults, []);
        },
        { size, scheme },
      ));
  }
}

test("a visitor can order by keyboard alone", () =>
  browser.visit(async (page) => {
    const press = async (id) => {
      await tabTo(page, id);
      await page.keyboard.press("Enter");
    };
    await page.getByTestId("product-card").first().waitFor();
    await press("add-to-cart");
    await press("place-order");
    await page.getByTestId("payment").waitFor();
    await press("pay");
    await page.locator("[data-testid=track-event][data-stage=paid]").waitFor();
  }));

/** Presses Tab until the element has the focus. */
async function tabTo(page, id) {
  for (let presses = 0; presses < 120; presses += 1) {
    await page.keyboard.press("Tab");
    const here = await page.evaluate(() => document.activeElement?.closest("[data-testid]")?.getAttribute("data-testid"));
    if (here === id) return;
  }
  assert.fail(`${id} cannot be reached by Tab`);
}
