import { useEffect } from "preact/hooks";
import { perSecond } from "./backstage/history";
import { Backstage } from "./backstage/backstage";
import { health, history, watchReplicas } from "./backstage/watch";
import { pieces } from "./cart/cart";
import { cartOpen } from "./cart/cart_panel";
import { cart } from "./cart/visitor_cart";
import { Market } from "./market/market";
import { watchShelf } from "./market/catalog";
import { OrderList } from "./orders/order_list";
import { OrderPage } from "./orders/order_page";
import { Choice } from "./parts";
import { hrefTo, type Route, route } from "./route";
import { protocol } from "./rpc/clients";
import { PROTOCOLS } from "./rpc/transport";
import { Chat } from "./support/chat_panel";
import { theme, THEMES } from "./theme";

const RATE_WINDOW_MILLIS = 2_000;

/** The whole page. */
export function App() {
  useEffect(() => watchReplicas(), []);
  useEffect(() => watchShelf(), []);
  return (
    <>
      <a class="skip" href="#main" onClick={skipToMain}>
        Skip to the content
      </a>
      <Header />
      <main id="main" tabIndex={-1}>
        <View />
      </main>
      <Footer />
      <Chat />
    </>
  );
}

function View() {
  const shown = route.value;
  switch (shown.name) {
    case "market":
      return <Market />;
    case "orders":
      return <OrderList />;
    case "order":
      return <OrderPage key={shown.id} id={shown.id} />;
    case "backstage":
      return <Backstage />;
  }
}

function Header() {
  const inCart = pieces(cart.value);
  return (
    <header class="top">
      <a class="brand" href={hrefTo({ name: "market" })}>
        <Boat />
        <span>Sampan Market</span>
      </a>
      <nav aria-label="Main">
        <NavLink to={{ name: "market" }} words="Market" testId="nav-market" />
        <NavLink to={{ name: "orders" }} words="Orders" testId="nav-orders" />
        <NavLink to={{ name: "backstage" }} words="Backstage" testId="nav-backstage" />
      </nav>
      <div class="top-end">
        <ReplicaLights />
        {route.value.name !== "market" && inCart > 0 && (
          <a class="cart-link" href={hrefTo({ name: "market" })} onClick={() => (cartOpen.value = true)}>
            Cart · {inCart}
          </a>
        )}
      </div>
    </header>
  );
}

function NavLink({ to, words, testId }: { to: Route; words: string; testId: string }) {
  const here = route.value.name === to.name || (route.value.name === "order" && to.name === "orders");
  return (
    <a href={hrefTo(to)} {...(here ? { "aria-current": "page" as const } : {})} data-testid={testId}>
      {words}
    </a>
  );
}

/** How the replicas are, on every view. */
function ReplicaLights() {
  const states = [...health.value.values()];
  const up = states.filter((state) => state !== "down").length;
  const calls = perSecond(history.value, RATE_WINDOW_MILLIS, (sample) => sample.calls);
  if (states.length === 0) {
    return null;
  }
  return (
    <a class="lights" href={hrefTo({ name: "backstage" })}>
      <span class="unseen">
        {up} of {states.length} replicas up,
      </span>
      {states.map((state, index) => (
        <i key={index} class={`health-${state}`} />
      ))}
      <span class="lights-rate">
        {calls.toFixed(0)}/s
      </span>
    </a>
  );
}

function Footer() {
  return (
    <footer class="bottom">
      <p class="fine">
        A demonstration of <b>Sampan</b>. Nothing is for sale, and no card is charged.
      </p>
      <Choice
        label="This page speaks"
        name="protocol"
        value={protocol.value}
        options={PROTOCOLS.map(({ id, name }) => ({ value: id, text: name, testId: `protocol-${id}` }))}
        onChoose={(chosen) => (protocol.value = chosen)}
      />
      <Choice
        label="Looks"
        name="theme"
        value={theme.value}
        options={THEMES.map((name) => ({
          value: name as string,
          text: name.charAt(0).toUpperCase() + name.slice(1),
          testId: `theme-${name}`,
        }))}
        onChoose={(chosen) => (theme.value = chosen)}
      />
    </footer>
  );
}

function Boat() {
  return (
    <svg class="boat" viewBox="0 0 32 32" aria-hidden="true">
      <path class="canopy" d="M8.5 18.5C8.5 13 11.5 9.5 16 9.5s7.5 3.5 7.5 9c-5 1-10 1-15 0z" />
      <path class="hull" d="M2 16.5c4.2 2.8 8.400 4 14 4s9.8-1.2 14-4c-1.2 6.2-5.6 9.5-14 9.5S3.2 22.7 2 16.5z" />
    </svg>
  );
}

// The address after `#` names the view, so this link moves the focus itself.
function skipToMain(event: Event): void {
  event.preventDefault();
  document.getElementById("main")?.focus();
}
