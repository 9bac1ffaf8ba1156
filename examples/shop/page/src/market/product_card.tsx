import { MAX_QUANTITY, quantityOf } from "../cart/cart";
import { cart, setQuantity } from "../cart/visitor_cart";
import { money } from "../format";
import type { Product } from "../gen/shop/v1/catalog_pb";
import { Art } from "../parts";

/** One product with the button that puts it into the cart. */
export function ProductCard({ product }: { product: Product }) {
  const { id, name, description, emoji } = product;
  const priceCents = Number(product.priceCents);
  const quantity = quantityOf(cart.value, id);
  const add = () => setQuantity({ productId: id, name, emoji, priceCents }, quantity + 1);
  return (
    <li class="product" data-testid="product-card" data-product-id={id}>
      <Art seed={id} emoji={emoji} size="large" />
      <div class="product-words">
        <h2 data-testid="product-name">{name}</h2>
        <p>{description}</p>
      </div>
      <div class="product-buy">
        <span class="price">{money(priceCents)}</span>
        <button
          type="button"
          class="button"
          onClick={add}
          disabled={quantity >= MAX_QUANTITY}
          data-testid="add-to-cart"
        >
          Add
          <span class="unseen">{name} to the cart</span>
          {quantity > 0 && <span>· {quantity}</span>}
        </button>
      </div>
    </li>
  );
}
