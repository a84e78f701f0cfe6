// What has no place on a page: text on text, what is wider than the window, controls too small to be hit.

import type { Page } from "@playwright/test";

/** The smallest size of what is pressed, in CSS pixels (WCAG 2.5.8). */
const smallest = 24;

/** overlaps finds pieces of text that lie on others, of which neither is meant to cover the other. */
export async function overlaps(page: Page): Promise<string[]> {
  return page.evaluate(() => {
    interface Piece {
      text: string;
      element: Element;
      box: DOMRect;
    }
    const pieces: Piece[] = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      const element = node.parentElement;
      const text = node.textContent?.trim();
      if (!element || !text || element.closest("[aria-hidden=true], .aloud, .skip, option, noscript, script")) continue;
      if (!element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
      const range = document.createRange();
      range.selectNodeContents(node);
      for (const box of range.getClientRects()) {
        const seen = clip(element, box);
        if (seen.width > 2 && seen.height > 4 && uncovered(element, seen)) pieces.push({ text, element, box: seen });
      }
    }
    const found: string[] = [];
    pieces.sort((a, b) => a.box.top - b.box.top);
    for (let i = 0; i < pieces.length; i++) {
      for (let j = i + 1; j < pieces.length && pieces[j]!.box.top < pieces[i]!.box.bottom; j++) {
        const [a, b] = [pieces[i]!, pieces[j]!];
        if (a.element === b.element || found.length > 20) continue;
        const width = Math.min(a.box.right, b.box.right) - Math.max(a.box.left, b.box.left);
        const height = Math.min(a.box.bottom, b.box.bottom) - Math.max(a.box.top, b.box.top);
        if (width > 2 && height > 4) found.push(`“${a.text.slice(0, 60)}” and “${b.text.slice(0, 60)}”`);
      }
    }
    return found;

    /** clip is the part of a box that what scrolls or cuts around it lets be seen. */
    function clip(element: Element, box: DOMRect): DOMRect {
      let { left, top, right, bottom } = box;
      for (let e: Element | null = element; e; e = e.parentElement) {
        if (e.namespaceURI?.endsWith("svg")) continue;
        const style = getComputedStyle(e);
        const outer = e.getBoundingClientRect();
        if (style.overflowX !== "visible") [left, right] = [Math.max(left, outer.left), Math.min(right, outer.right)];
        if (style.overflowY !== "visible") [top, bottom] = [Math.max(top, outer.top), Math.min(bottom, outer.bottom)];
      }
      return new DOMRect(left, top, Math.max(right - left, 0), Math.max(bottom - top, 0));
    }

    /** uncovered says whether something is seen at its middle, and not a sticky head or a panel above it. */
    function uncovered(element: Element, box: DOMRect): boolean {
      const top = document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2);
      if (!top) return false; // out of the window
      if (top === element || top.contains(element) || element.contains(top)) return true;
      for (let e: Element | null = top; e && !e.contains(element); e = e.parentElement) {
        const style = getComputedStyle(e);
        const opaque = style.backgroundColor !== "rgba(0, 0, 0, 0)" && style.backgroundColor !== "transparent";
        if (opaque && style.position !== "static") return false;
      }
      return true;
    }
  });
}

/** small are the controls that are too small to be hit. Links within text may be. */
export async function small(page: Page): Promise<string[]> {
  return page.evaluate((smallest) => {
    const controls = document.querySelectorAll("button, select, input, summary, [role=button], [role=tab], nav a");
    const boxes = [...controls]
      .filter((e) => e.checkVisibility({ opacityProperty: true, visibilityProperty: true }))
      .map((e) => ({ e, box: e.getBoundingClientRect() }))
      .filter(({ box }) => box.width > 0 && box.height > 0);
    // Smaller ones do where nothing else is within 24 pixels around their middle, as the guideline has it.
    const near = (a: DOMRect, b: DOMRect) => {
      const [x, y] = [a.left + a.width / 2, a.top + a.height / 2];
      const dx = Math.max(b.left - x, 0, x - b.right);
      const dy = Math.max(b.top - y, 0, y - b.bottom);
      return Math.hypot(dx, dy) < smallest / 2;
    };
    return boxes
      .filter(({ box }) => box.width < smallest - 0.5 || box.height < smallest - 0.5)
      .filter(({ e, box }) => boxes.some((o) => o.e !== e && !o.e.contains(e) && !e.contains(o.e) && near(box, o.box)))
      .map(({ e, box }) => `${e.outerHTML.slice(0, 160)}: ${Math.round(box.width)} × ${Math.round(box.height)}`);
  }, smallest);
}

/** wide are the parts that are wider than the window, when the page itself is. */
export async function wide(page: Page): Promise<string[]> {
  return page.evaluate(() => {
    const { clientWidth } = document.documentElement;
    if (
      document.documentElement.scrollWidth <= clientWidth &&
      document.querySelector("main")!.scrollWidth <= document.querySelector("main")!.clientWidth
    )
      return [];
    return [...document.querySelectorAll("body *")]
      .filter((e) => e.getBoundingClientRect().right > clientWidth + 1)
      .slice(-5)
      .map((e) => e.outerHTML.slice(0, 160));
  });
}
