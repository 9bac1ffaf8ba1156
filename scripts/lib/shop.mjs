// The whole shop on loopback: who is started, in which order, and who is told whose address.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { answers, freePort, HOST, Processes } from "./processes.mjs";

const REPLICAS = 3;
/** The dashboard looks for a replica's keeper so far above its port. */
const KEEPER_APART = 100;

/** A shop that can be started once, and stopped at any time. */
export class Shop {
  #processes;
  #settings;
  #folder;
  #places = new Map();

  /**
   * `binDir` holds the programs, `pageDir` the built page; `port` is the gateway's (any free one), `courierStep` the
   * time between two steps of a parcel, `env` goes to every service. `hear` and `ended` as for `Processes`;
   * `opened(name, address)` is told of each service that is ready.
   */
  constructor({ hear, ended, opened = () => {}, ...settings }) {
    this.#processes = new Processes({ hear, ended });
    this.#settings = { opened, ...settings };
  }

  /** Starts every service, with three replicas of the catalog; gives the page's address once all are ready. */
  async start() {
    const { pageDir, courierStep } = this.#settings;
    this.#folder = await mkdtemp(join(tmpdir(), "sampan-shop-"));
    const names = Array.from({ length: REPLICAS }, (_, index) => `catalog-${index + 1}`);
    const replicas = await Promise.all(names.map((name) => this.#replica(name)));
    const CATALOG_ADDR = `static:///${replicas.join(",")}`;
    const DATABASE_URL = `sqlite:${join(this.#folder, "orders.db")}`;
    const ORDERS_ADDR = await this.#service("orders", { CATALOG_ADDR, DATABASE_URL });
    const pace = courierStep === undefined ? {} : { SHOP_COURIER_STEP: courierStep };
    const [PAYMENTS_ADDR, TRACKING_ADDR, SUPPORT_ADDR] = await Promise.all([
      this.#service("payments", { ORDERS_ADDR }),
      this.#service("tracking", { ORDERS_ADDR, ...pace }),
      this.#service("support"),
    ]);
    const upstreams = { CATALOG_ADDR, ORDERS_ADDR, PAYMENTS_ADDR, TRACKING_ADDR, SUPPORT_ADDR };
    const port = this.#settings.port ?? (await freePort());
    return `http://${await this.#service("gateway", { ...upstreams, SHOP_PAGE: pageDir }, { port })}`;
  }

  async #replica(name) {
    const port = await freePort(KEEPER_APART);
    const env = { SHOP_KEEPER_PORT: `${port + KEEPER_APART}` };
    return this.#service("catalog", env, { port, name });
  }

  async #service(service, env = {}, { port, name = service } = {}) {
    const place = { program: join(this.#settings.binDir, `shop-${service}`), env, port: port ?? (await freePort()) };
    place.probe = await freePort();
    this.#places.set(name, place);
    return this.#open(name);
  }

  async #open(name) {
    const place = this.#places.get(name);
    const { program, env, port, probe } = place;
    place.started = this.#processes.start(name, program, [], {
      SAMPAN_HOST: HOST,
      PORT: `${port}`,
      SAMPAN_PROBE_PORT: `${probe}`,
      // Nobody is told to look elsewhere first.
      SAMPAN_LAME_DUCK: "0s",
      ...this.#settings.env,
      ...env,
    });
    await this.#processes.ready(place.started, () => answers(`http://${HOST}:${probe}/ready`));
    const address = `${HOST}:${port}`;
    this.#settings.opened(name, address, place.started.child.pid);
    return address;
  }

  /** Ends one service as `kill -9` does. */
  async crash(name) {
    await this.#processes.crash(this.#places.get(name).started);
  }

  /** Starts a crashed service again, where it was. */
  async revive(name) {
    await this.#open(name);
  }

  /** What the services wrote, for a failed run. */
  output() {
    return this.#processes.output();
  }

  /** Drains everything, who calls before who is called; names those that did not end well. */
  async stop() {
    const stubborn = await this.#processes.stop();
    if (this.#folder) await rm(this.#folder, { recursive: true, force: true });
    return stubborn;
  }

  /** Makes a `stop` under way short. */
  kill() {
    this.#processes.kill();
  }
}
