import { signal } from "@preact/signals";

/** What the page shows; kept in the address after `#` so that it can be linked to. */
export type Route =
  | { readonly name: "market" }
  | { readonly name: "orders" }
  | { readonly name: "order"; readonly id: string }
  | { readonly name: "backstage" };

/** Reads the part of an address after `#`; what is unknown is the market. */
export function parseRoute(hash: string): Route {
  const [name, id] = hash.replace(/^#\/?/, "").split("/");
  if (name === "orders") {
    return id ? { name: "order", id: decodeURIComponent(id) } : { name: "orders" };
  }
  return name === "backstage" ? { name: "backstage" } : { name: "market" };
}

/** The address of a route. */
export function hrefTo(route: Route): string {
  switch (route.name) {
    case "market":
      return "#/";
    case "order":
      return `#/orders/${encodeURIComponent(route.id)}`;
    default:
      return `#/${route.name}`;
  }
}

/** What the page shows now. */
export const route = signal<Route>(parseRoute(location.hash));
addEventListener("hashchange", () => {
  route.value = parseRoute(location.hash);
  scrollTo(0, 0);
});

/** Shows `target`. */
export function go(target: Route): void {
  location.hash = hrefTo(target);
}
