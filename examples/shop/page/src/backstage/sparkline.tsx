const WIDTH = 240;
const HEIGHT = 44;

/** A small chart of one value over the last minute; `top` is the upper end of its scale. */
export function Sparkline(props: { values: readonly number[]; slots: number; top: number; label: string; kind: string }) {
  const { values, slots, top, label, kind } = props;
  const points = values.map((value, index) => {
    const x = WIDTH - ((values.length - 1 - index) * WIDTH) / (slots - 1);
    const y = HEIGHT - 2 - (Math.min(value, top) / top) * (HEIGHT - 6);
    return `${x.toFixed(1)} ${y.toFixed(1)}`;
  });
  const first = points[0]?.split(" ")[0] ?? "0";
  return (
    <svg
      class={`sparkline ${kind}`}
      viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
      preserveAspectRatio="none"
      role="img"
      aria-label={label}
    >
      {points.length > 1 && (
        <>
          <path class="area" d={`M${first} ${HEIGHT} L${points.join(" L")} L${WIDTH} ${HEIGHT} Z`} />
          <path class="curve" d={`M${points.join(" L")}`} />
        </>
      )}
    </svg>
  );
}
