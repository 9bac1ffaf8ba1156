import assert from "node:assert/strict";
import { test } from "node:test";
import { eventually, numberIn, picture, useBrowser } from "./visitor.mjs";

const browser = useBrowser();

const backstage = { at: "#/backstage" };

/** What the page shows of each replica, and of its own calls. */
async function dashboard(page) {
  const replicas = await page.getByTestId("replica-card").evaluateAll((cards) =>
    cards.map((card) => ({
      address: card.dataset.address,
      health: card.dataset.health,
      share: Number(document.querySelector(`[data-testid=share][data-address="${card.dataset.address}"]`).dataset.share),
    })),
  );
  // The gateway's count began with the gateway: a test looks at how it grew.
  const [ok, failed, totalFailed] = await Promise.all(
    ["load-ok", "load-failed", "total-failed"].map((id) => numberIn(page.getByTestId(id))),
  );
  return { replicas, ok, failed, totalFailed };
}

/** Switches the load on, and waits until every replica has its part of it. */
async function underLoad(page) {
  await page.getByTestId("load-rate-50").click();
  await page.getByTestId("load-toggle").click();
  return eventually("load on all replicas", () => dashboard(page), ({ ok, replicas }) => {
    return ok > 100 && replicas.length === 3 && replicas.every(({ share }) => share > 0.15);
  });
}

test("the dashboard is live", () =>
  browser.visit(async (page) => {
    await page.locator("[data-testid=watching][data-following=live]").waitFor();
    await underLoad(page);
    await eventually("the rate", () => numberIn(page.getByTestId("total-rate")), (rate) => rate > 20);
    for (const id of ["replica-rate", "replica-p50", "replica-p99", "replica-attempts"]) {
      const numbers = await Promise.all((await page.getByTestId(id).all()).map(numberIn));
      assert.ok(numbers.length === 3 && numbers.every((number) => number > 0), `${id}: ${numbers}`);
    }
    assert.equal((await dashboard(page)).failed, 0);
  }, backstage));

test("a replica is killed under load and no call fails; brought back it serves again", () =>
  browser.visit(async (page) => {
    const { replicas, totalFailed } = await underLoad(page);
    const { address } = replicas[0];
    const card = page.locator(`[data-testid=replica-card][data-address="${address}"]`);
    const mine = (seen) => seen.replicas.find((replica) => replica.address === address);

    await card.getByTestId("kill").click();
    const down = await eventually("the killed replica", () => dashboard(page), (seen) => mine(seen).health === "down");
    const without = await eventually("calls without it", () => dashboard(page), (seen) => {
      return seen.ok > down.ok + 200 && mine(seen).share === 0;
    });
    assert.deepEqual([without.failed, without.totalFailed], [0, totalFailed]);
    assert.equal(mine(without).health, "down");
    await picture(page, "backstage");

    await card.getByTestId("start").click();
    const back = await eventually("the replica that was brought back", () => dashboard(page), (seen) => {
      return mine(seen).health === "serving" && mine(seen).share > 0.15;
    });
    assert.deepEqual([back.failed, back.totalFailed], [0, totalFailed]);
  }, backstage));

test("a slow replica gets fewer calls, and its part again when it is fast", () =>
  browser.visit(async (page) => {
    const { replicas } = await underLoad(page);
    const { address } = replicas[1];
    const card = page.locator(`[data-testid=replica-card][data-address="${address}"]`);
    const share = async () => (await dashboard(page)).replicas.find((replica) => replica.address === address).share;
    try {
      await card.getByTestId("slow-500").click();
      await eventually("the slow replica's share", share, (part) => part < 0.12);
      await eventually("its latency", () => numberIn(card.getByTestId("replica-p99")), (millis) => millis >= 500);
      await picture(page, "slow");
    } finally {
      await card.getByTestId("slow-0").click();
    }
    await eventually("its share when fast again", share, (part) => part > 0.15);
    assert.equal((await dashboard(page)).failed, 0);
  }, backstage));

test("a dashboard that loses its stream says so, and comes back by itself", () =>
  browser.visit(
    async (page) => {
      const watch = "**/shop.v1.Dashboard/Watch";
      await page.route(watch, (route) => route.abort("connectionreset"));
      await page.reload();
      await page.locator("[data-testid=watching][data-following=waiting]").waitFor();
      await page.getByTestId("watch-error").getByText("The shop cannot be reached right now").waitFor();
      await page.unroute(watch);
      await page.locator("[data-testid=watching][data-following=live]").waitFor();
      await page.getByTestId("watch-error").waitFor({ state: "detached" });
    },
    { ...backstage, mayFail: true },
  ));
