// Starts the whole shop on free ports of loopback.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { answers, freePort, Processes } from "./processes.mjs";

const REPLICAS = 3;
/** The dashboard looks for a replica's keeper so far above its port. */
const KEEPER_APART = 100;

/**
 * Starts every service of the shop, with three replicas of the catalog, and waits until all are ready.
 *
 * `binDir` holds the programs, `pageDir` the built page; `courierStep` is the time between two steps of a parcel.
 */
export async function startShop({ binDir, pageDir, courierStep }) {
  const processes = new Processes();
  const folder = await mkdtemp(join(tmpdir(), "sampan-shop-"));
  const stop = async () => {
    const stubborn = await processes.stop();
    await rm(folder, { recursive: true, force: true });
    return stubborn;
  };

  async function service(name, env = {}, label = name) {
    const port = await freePort(KEEPER_APART);
    const probe = await freePort();
    const keeper = name === "catalog" ? { SHOP_KEEPER_PORT: `${port + KEEPER_APART}`, SHOP_REPLICA: label } : {};
    const started = processes.start(label, join(binDir, `shop-${name}`), [], {
      SAMPAN_HOST: "127.0.0.1",
      PORT: `${port}`,
      SAMPAN_PROBE_PORT: `${probe}`,
      // Nobody is told to look elsewhere first.
      SAMPAN_LAME_DUCK: "0s",
      ...keeper,
      ...env,
    });
    await processes.ready(started, () => answers(`http://127.0.0.1:${probe}/ready`));
    return `127.0.0.1:${port}`;
  }

  try {
    const labels = Array.from({ length: REPLICAS }, (_, index) => `catalog-${index + 1}`);
    const replicas = await Promise.all(labels.map((label) => service("catalog", {}, label)));
    const CATALOG_ADDR = `static:///${replicas.join(",")}`;
    const ORDERS_ADDR = await service("orders", { CATALOG_ADDR, DATABASE_URL: `sqlite:${join(folder, "orders.db")}` });
    const [PAYMENTS_ADDR, TRACKING_ADDR, SUPPORT_ADDR] = await Promise.all([
      service("payments", { ORDERS_ADDR }),
      service("tracking", { ORDERS_ADDR, SHOP_COURIER_STEP: courierStep }),
      service("support"),
    ]);
    const upstreams = { CATALOG_ADDR, ORDERS_ADDR, PAYMENTS_ADDR, TRACKING_ADDR, SUPPORT_ADDR };
    const gateway = await service("gateway", { ...upstreams, SHOP_PAGE: pageDir });
    return { url: `http://${gateway}`, stop, output: () => processes.output() };
  } catch (error) {
    await stop();
    throw error;
  }
}
