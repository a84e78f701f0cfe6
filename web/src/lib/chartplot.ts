// What all plots of uPlot have in common: the axes, the cursor that they share, and dragging.

import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { mix, timeTicks } from "./chart";
import { color } from "./theme.svelte";

/** The widths of what is left and right of every plot, in pixels: with them the time axes of all charts line up. */
export const left = 64;
export const right = 28;
/** The height of the times below a plot. */
const timesHeight = 34;

/** A curve of a Chart. */
export interface Curve {
  label: string;
  values: (number | null)[];
  /** The name of a colour of app.css: --series-1. */
  color: string;
  /** Of its values, where that isn't the chart's: ns, byte, bytes/s, part, 1/s or none. */
  unit?: string;
  /** Filled down to the axis. */
  fill?: boolean;
  /** On top of the curves before it that are stacked. */
  stack?: boolean;
  /** Level over each bucket: for counts. */
  step?: boolean;
}

/**
 * between mixes two colours of app.css. A canvas writes any colour as #rrggbb: what is #ffffff in app.css
 * is #fff or white when it has been made smaller.
 */
export function between(low: string, high: string, part: number): string {
  const context = document.createElement("canvas").getContext("2d");
  const [a, b] = [low, high].map((name) => {
    if (!context) return "#888888";
    context.fillStyle = color(name);
    return context.fillStyle;
  });
  return mix(a!, b!, part);
}

function font(): string {
  return `11px ${getComputedStyle(document.body).fontFamily}`;
}

/** timeAxis is the axis below; without words it has only its grid. */
export function timeAxis(words: boolean): uPlot.Axis {
  return {
    show: true,
    size: words ? timesHeight : 6,
    space: 90,
    gap: 4,
    font: font(),
    lineGap: 1.3,
    stroke: color("--text-quiet"),
    grid: { stroke: color("--line"), width: 1 },
    ticks: { show: words, stroke: color("--line"), width: 1, size: 4 },
    values: words ? (_, splits, __, ___, apart) => timeTicks(splits, apart) : () => [],
  };
}

/** valueAxis is the axis on the left. */
export function valueAxis(axis: Partial<uPlot.Axis>): uPlot.Axis {
  return {
    size: left,
    space: 28,
    gap: 4,
    font: font(),
    stroke: color("--text-quiet"),
    grid: { stroke: color("--line"), width: 1 },
    ticks: { show: false },
    ...axis,
  };
}

/** cursor is the line that all charts with the same key show at the same time. Dragging is drag()'s, which knows touch, too. */
export function cursor(key: string): uPlot.Cursor {
  const none = () => null;
  return {
    y: false,
    drag: { x: false, y: false, setScale: false },
    bind: { mousedown: none, mouseup: none, dblclick: none },
    sync: { key, setSeries: false, scales: ["x", null] },
  };
}

/** A place in a plot, in pixels from its left top corner. */
export interface Spot {
  x: number;
  y: number;
}

interface Dragging {
  /** It is being dragged from one place to the other; undefined: no more. */
  over: (a: Spot, b: Spot) => void;
  done: (a: Spot, b: Spot) => void;
  cancel: () => void;
  click?: (at: Spot) => void;
}

/** Pixels below which it was a click. */
const still = 4;

/** drag has a plot dragged over by mouse, pen and finger. It returns what ends that. */
export function drag(over: HTMLElement, does: Dragging): () => void {
  let first: Spot | undefined;
  let moved = false;
  let sideways = false;
  const spot = (e: PointerEvent): Spot => {
    const box = over.getBoundingClientRect();
    return {
      x: Math.min(Math.max(e.clientX - box.left, 0), box.width),
      y: Math.min(Math.max(e.clientY - box.top, 0), box.height),
    };
  };
  const down = (e: PointerEvent) => {
    if (e.button !== 0 || !e.isPrimary) return;
    first = spot(e);
    moved = false;
    over.setPointerCapture(e.pointerId);
  };
  const move = (e: PointerEvent) => {
    if (!first || !e.isPrimary) return;
    const at = spot(e);
    if (!moved && Math.hypot(at.x - first.x, at.y - first.y) >= still) {
      moved = true;
      sideways = Math.abs(at.x - first.x) >= Math.abs(at.y - first.y);
    }
    if (moved) does.over(first, at);
  };
  const up = (e: PointerEvent) => {
    if (!first || !e.isPrimary) return;
    const from = first;
    first = undefined;
    if (moved) does.done(from, spot(e));
    else does.click?.(from);
  };
  const end = () => {
    if (first && moved) does.cancel();
    first = undefined;
  };
  const key = (e: KeyboardEvent) => {
    if (e.key !== "Escape" || !first) return;
    e.preventDefault();
    e.stopPropagation();
    end();
  };
  // A finger that goes up or down scrolls the page; one that begins sideways drags, wherever it goes then.
  const touch = (e: TouchEvent) => {
    if (first && moved && sideways && e.cancelable) e.preventDefault();
  };
  over.style.touchAction = "pan-y";
  over.addEventListener("touchmove", touch, { passive: false });
  over.addEventListener("pointerdown", down);
  over.addEventListener("pointermove", move);
  over.addEventListener("pointerup", up);
  over.addEventListener("pointercancel", end);
  addEventListener("keydown", key, true);
  return () => {
    over.removeEventListener("touchmove", touch);
    over.removeEventListener("pointerdown", down);
    over.removeEventListener("pointermove", move);
    over.removeEventListener("pointerup", up);
    over.removeEventListener("pointercancel", end);
    removeEventListener("keydown", key, true);
  };
}

/** steps draws each value level over its bucket, which is so many milliseconds wide around its time. */
export function steps(width: number): uPlot.Series.PathBuilder {
  return (u, series, first, last) => {
    const data = u.data[series]!;
    const x = (ms: number) => Math.round(u.valToPos(ms, "x", true));
    const y = (v: number) => Math.round(u.valToPos(v, "y", true));
    const base = y(u.scales.y!.min ?? 0);
    const stroke = new Path2D();
    const fill = new Path2D();
    let level: number | undefined;
    for (let i = first; i <= last; i++) {
      const v = data[i];
      if (v == null) {
        level = undefined;
        continue;
      }
      const [a, b, top] = [x(u.data[0][i]! - width / 2), x(u.data[0][i]! + width / 2), y(v)];
      fill.rect(a, top, b - a, base - top);
      // What is nothing has no line: the axis is there.
      if (level === undefined) stroke.moveTo(a, top);
      else stroke.lineTo(a, top);
      stroke.lineTo(b, top);
      level = top;
    }
    return { stroke, fill, clip: null, band: null, flags: 1 };
  };
}
