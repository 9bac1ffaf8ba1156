import assert from "node:assert/strict";
import { test } from "node:test";
import { eventually, orderId, picture, placeOrder, putInCart, shopUrl, useBrowser } from "./visitor.mjs";

const browser = useBrowser();

const PLACE_ORDER = "**/shop.v1.Orders/PlaceOrder";

test("a visitor sees what the shop sells, and finds one by its name", () =>
  browser.visit(async (page) => {
    const cards = page.getByTestId("product-card");
    await cards.first().waitFor();
    const all = await cards.count();
    assert.ok(all >= 6, `${all} products`);
    const wanted = await page.getByTestId("product-name").nth(2).innerText();
    await page.getByTestId("search").fill(wanted);
    await eventually("products found", () => page.getByTestId("product-name").allInnerTexts(), (names) => {
      return names.length < all && names.includes(wanted);
    });
    await page.getByTestId("search").fill("no such thing");
    await page.getByText("Nothing here is called “no such thing”.").waitFor();
    await page.getByRole("button", { name: "Show everything" }).click();
    await eventually("all products", () => cards.count(), (count) => count === all);
  }));

test("the cart sums up and outlives a reload", () =>
  browser.visit(async (page) => {
    await putInCart(page, 0);
    await putInCart(page, 1);
    await putInCart(page, 1);
    await page.getByTestId("cart-count").getByText("3 items").waitFor();
    const total = await page.getByTestId("cart-total").innerText();
    assert.match(total, /^€[\d,]+\.\d\d$/);
    await page.reload();
    assert.equal(await page.getByTestId("cart-total").innerText(), total);
    await picture(page, "market");
  }));

test("a double click makes one order", () =>
  browser.visit(async (page) => {
    const sent = [];
    page.on("request", (request) => {
      if (request.url().endsWith("/PlaceOrder")) sent.push(request.postDataJSON());
    });
    await putInCart(page);
    await page.getByTestId("place-order").dblclick();
    await orderId(page);
    assert.equal(new Set(sent.map(({ idempotencyKey }) => idempotencyKey)).size, 1);
  }));

test("an order whose answer was lost is not made twice by trying again", () =>
  browser.visit(
    async (page) => {
      const keys = [];
      const made = [];
      await page.route(PLACE_ORDER, async (route) => {
        keys.push(route.request().postDataJSON().idempotencyKey);
        const answer = await route.fetch();
        made.push((await answer.json()).id);
        // The first answer never reaches the page.
        await (keys.length === 1 ? route.abort("connectionreset") : route.fulfill({ response: answer }));
      });
      await putInCart(page);
      await page.getByTestId("place-order").click();
      const trouble = page.getByTestId("order-error");
      await trouble.getByText("The shop cannot be reached right now").waitFor();
      await page.getByTestId("place-order").click();
      assert.equal(await orderId(page), made[0]);
      assert.deepEqual([keys.length, new Set(keys).size, new Set(made).size], [2, 1, 1]);
    },
    { mayFail: true },
  ));

test("another cart is another order", () =>
  browser.visit(async (page) => {
    await putInCart(page);
    const first = await placeOrder(page);
    await page.getByTestId("nav-market").click();
    await putInCart(page);
    const second = await placeOrder(page);
    assert.notEqual(second, first);
    await page.getByTestId("nav-orders").click();
    await page.getByTestId("order-row").first().waitFor();
    const listed = await page.getByTestId("order-row").evaluateAll((rows) => rows.map((row) => row.dataset.orderId));
    assert.deepEqual(listed.slice(0, 2), [second, first]);
    await picture(page, "orders");
  }));

test("a catalog that cannot be reached is told in words, and trying again helps", () =>
  browser.visit(
    async (page) => {
      const calls = "**/shop.v1.Catalog/ListProducts";
      await page.route(calls, (route) => route.abort("connectionrefused"));
      await page.reload();
      const trouble = page.getByTestId("market-trouble");
      await trouble.getByText("The shop cannot be reached right now").waitFor();
      await page.unroute(calls);
      await trouble.getByRole("button", { name: "Try again" }).click();
      await page.getByTestId("product-card").first().waitFor();
      await trouble.waitFor({ state: "detached" });
    },
    { mayFail: true },
  ));

test("an order that nobody placed is told in words", () =>
  browser.visit(
    async (page) => {
      const trouble = page.getByTestId("order-trouble");
      await trouble.getByText("The shop does not know this").waitFor();
      assert.equal(await trouble.getAttribute("data-code"), "NOT_FOUND");
    },
    { at: "#/orders/no-such-order", mayFail: true },
  ));

for (const [protocol, type] of [
  ["connect-json", /^application\/json$/],
  ["connect-binary", /^application\/proto$/],
  ["grpc-web", /^application\/grpc-web(\+proto)?$/],
]) {
  test(`the page can order and pay by ${protocol}`, () =>
    browser.visit(async (page) => {
      await page.getByTestId(`protocol-${protocol}`).click();
      const place = page.waitForRequest((request) => request.url().endsWith("/PlaceOrder"));
      await putInCart(page);
      await placeOrder(page);
      assert.match((await place).headers()["content-type"], type);
      await page.getByTestId("pay").click();
      await page.locator("[data-testid=track-event][data-stage=paid]").waitFor();
    }));
}

test("a page that does not exist is not the shop", async () => {
  const answer = await fetch(`${shopUrl}/no/such/file.js`);
  assert.equal(answer.status, 404);
});
