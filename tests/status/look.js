// What a test asks of a laid-out page. Evaluated by the debugger; nothing of it is part of the page.
(() => {
  const parse = (text) => (text.match(/rgba?\([^)]*\)/g) || []).map((one) => one.match(/[\d.]+/g).map(Number));
  const linear = (value) => { const s = value / 255; return s <= 0.04045 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4; };
  const luminance = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const ratio = (a, b) => {
    const [high, low] = [luminance(a), luminance(b)].sort((x, y) => y - x);
    return (high + 0.05) / (low + 0.05);
  };
  // The colours that may be behind an element: of a gradient both.
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const style = getComputedStyle(one);
      const gradient = parse(style.backgroundImage);
      if (gradient.length) return gradient;
      const [colour] = parse(style.backgroundColor);
      if (colour && (colour.length < 4 || colour[3] > 0)) return [colour];
    }
    return [[255, 255, 255]];
  };
  const name = (one) => `${one.tagName.toLowerCase()}.${one.getAttribute("class") || ""} ${one.textContent.trim().slice(0, 40)}`;
  const faint = [], wide = [], cut = [];
  for (const one of document.body.querySelectorAll("*")) {
    const box = one.getBoundingClientRect();
    const hidden = one.closest("thead, .skip") && box.right < 0;
    if (!hidden && box.width && (box.right > innerWidth + 1 || box.left < -1)) wide.push(name(one));
    const style = getComputedStyle(one);
    if (style.overflowX !== "visible" && one.scrollWidth > one.clientWidth + 1) cut.push(name(one));
    const says = [...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!says || hidden || !box.width) continue;
    const [colour] = parse(style.color);
    const least = Math.min(...behind(one).map((back) => ratio(colour, back)));
    if (least < 4.5) faint.push(`${least.toFixed(2)} ${name(one)}`);
  }
  return {
    width: innerWidth, scrollWidth: document.documentElement.scrollWidth, height: document.documentElement.scrollHeight,
    back: getComputedStyle(document.body).backgroundColor,
    verdict: getComputedStyle(document.querySelector(".verdict")).borderLeftColor, faint, wide, cut,
  };
})();
