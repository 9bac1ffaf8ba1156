import { nameOf } from "../backstage/history";
import { history } from "../backstage/watch";
import { CartPanel } from "../cart/cart_panel";
import { count, millis } from "../format";
import { Nothing, Trouble } from "../parts";
import { askAgain, query, shelf, shelfFailure } from "./catalog";
import { ProductCard } from "./product_card";

/** What the shop sells, and the cart beside it. */
export function Market() {
  return (
    <div class="market">
      <section class="shelf" aria-labelledby="market-title">
        <div class="market-head">
          <div>
            <h1 id="market-title">Fresh off the boat</h1>
            <p class="lead">Small things, packed today, and you can watch your parcel all the way home.</p>
          </div>
          <Search />
        </div>
        {shelfFailure.value && <Trouble failure={shelfFailure.value} onRetry={askAgain} testId="market-trouble" />}
        <Products />
      </section>
      <CartPanel />
    </div>
  );
}

function Search() {
  return (
    <form class="search" role="search" onSubmit={(event) => event.preventDefault()}>
      <label class="unseen" for="search">
        Search the market
      </label>
      <svg viewBox="0 0 20 20" aria-hidden="true">
        <circle cx="8.5" cy="8.5" r="5.5" />
        <path d="M13 13l4.5 4.5" />
      </svg>
      <input
        id="search"
        type="search"
        placeholder="Search the market"
        autocomplete="off"
        maxLength={100}
        value={query.value}
        onInput={(event) => {
          query.value = event.currentTarget.value;
        }}
        data-testid="search"
      />
    </form>
  );
}

function Products() {
  const found = shelf.value;
  if (found === undefined) {
    return shelfFailure.value ? null : <Placeholders />;
  }
  return (
    <>
      <p class="shelf-note" role="status" data-testid="shelf-note" data-replica={found.replica}>
        {count(found.products.length, "product")}
        {found.query && ` for “${found.query}”`}
        <span class="shelf-source">
          {" "}
          from <b>{found.replica ? nameOf(history.value, found.replica) : "the catalog"}</b> in {millis(found.tookMillis)}
        </span>
      </p>
      {found.products.length === 0 ? (
        <Nothing symbol="🪺" title={`Nothing here is called “${found.query}”.`}>
          <button type="button" class="button" onClick={() => (query.value = "")}>
            Show everything
          </button>
        </Nothing>
      ) : (
        <ul class="products" data-testid="products">
          {found.products.map((product) => (
            <ProductCard key={product.id} product={product} />
          ))}
        </ul>
      )}
    </>
  );
}

function Placeholders() {
  return (
    <ul class="products waiting" aria-busy="true" aria-label="Loading products">
      {Array.from({ length: 8 }, (_, index) => (
        <li key={index} class="product" />
      ))}
    </ul>
  );
}
