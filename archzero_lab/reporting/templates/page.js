// the bar of contents: where one is
const links = new Map([...document.querySelectorAll("nav.contents a")].map(a => [a.hash.slice(1), a]));
const heads = [...links.keys()].map(id => document.getElementById(id)).filter(Boolean);
function mark() {
  const now = heads.findLast(head => head.getBoundingClientRect().top < 120) ?? heads[0];
  links.forEach((a, id) => a.classList.toggle("here", id === now.id));
}
if (heads.length) { addEventListener("scroll", mark, {passive: true}); mark(); }

// a figure: drag over a part of it to enlarge that, double-click for the whole; what the place under the pointer is
const three = value => Math.abs(value) >= 100
  ? (+value.toPrecision(3)).toLocaleString("en") : String(+value.toPrecision(3));
const along = ([low, high, log], share) =>
  log ? low * (high / low) ** share : low + (high - low) * share;
function zoomable(svg) {
  if (!svg.hasAttribute("viewBox")) return;
  const whole = svg.getAttribute("viewBox").split(" ").map(Number), axes = JSON.parse(svg.dataset.axes ?? "[]");
  const figure = svg.closest("figure");
  const caption = figure.querySelector("figcaption") ?? figure.appendChild(document.createElement("figcaption"));
  const name = svg.closest("[aria-label]")?.getAttribute("aria-label").split(":")[0] ?? "figure";
  svg.classList.add("zoomable");
  const button = (text, act) => {
    const made = caption.appendChild(document.createElement("button"));
    made.type = "button"; made.textContent = text; made.onclick = act;
    made.setAttribute("aria-label", `${text}: ${name}`);
    return made;
  };
  const box = () => svg.getAttribute("viewBox").split(" ").map(Number);
  // a part keeps the figure's shape, so that the page below it stays where it is
  const show = ([x, y, width, height]) => {
    const scale = Math.max(width / whole[2], height / whole[3]), [w, h] = [whole[2] * scale, whole[3] * scale];
    svg.setAttribute("viewBox", [x + (width - w) / 2, y + (height - h) / 2, w, h].join(" "));
    back.hidden = scale > 0.999;
    svg.classList.toggle("part", !back.hidden);
    place.textContent = rest();
  };
  const value = (axis, share) => three(along(axis, share));
  // of a part: from where to where it goes, for its scales may lie outside
  const rest = () => {
    const [x, y, width, height] = box(), one = axes.find(({box: [left, top, right, bottom]}) =>
      x + width / 2 >= left && x + width / 2 <= right && y + height / 2 >= top && y + height / 2 <= bottom);
    if (back.hidden || !one) return "";
    const [left, top, right, bottom] = one.box, held = share => Math.min(1, Math.max(0, share));
    const ends = (axis, low, high) => axis && `${axis[3]}: ${value(axis, held(low))} to ${value(axis, held(high))}`;
    return [ends(one.x, (x - left) / (right - left), (x + width - left) / (right - left)),
            ends(one.y, (bottom - y - height) / (bottom - top), (bottom - y) / (bottom - top))].filter(Boolean).join("; ");
  };
  const nearer = button("zoom in", () => {
    const [x, y, width, height] = box();
    show([x + width / 6, y + height / 6, width / 1.5, height / 1.5]);
  });
  const back = button("whole figure", () => { show(whole); nearer.focus(); });
  // of a part the arrows show what lies beside it
  const step = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};
  caption.addEventListener("keydown", event => {
    if (back.hidden || !(event.key in step)) return;
    const [x, y, width, height] = box(), [right, down] = step[event.key];
    show([x + right * width / 4, y + down * height / 4, width, height]); event.preventDefault();
  });
  addEventListener("beforeprint", () => show(whole));
  back.hidden = true;
  const place = caption.appendChild(document.createElement("output"));
  const at = event => new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
  const frame = document.createElementNS(svg.namespaceURI, "rect");
  frame.setAttribute("class", "zoom");
  let from = null, box0 = null;
  svg.addEventListener("pointerdown", event => {
    const touch = event.pointerType !== "mouse";
    if (event.button || (touch && back.hidden)) return;
    from = at(event); box0 = touch ? box() : null;
    svg.setPointerCapture(event.pointerId); event.preventDefault();
  });
  svg.addEventListener("pointermove", event => {
    const to = at(event);
    const here = axes.find(one => to.x >= one.box[0] && to.x <= one.box[2] && to.y >= one.box[1] && to.y <= one.box[3]);
    place.textContent = here ? [
      here.x && `${here.x[3]}: ${value(here.x, (to.x - here.box[0]) / (here.box[2] - here.box[0]))}`,
      here.y && `${here.y[3]}: ${value(here.y, (here.box[3] - to.y) / (here.box[3] - here.box[1]))}`,
    ].filter(Boolean).join("; ") : rest();
    if (!from) return;
    if (box0) { const now = box(); show([now[0] + from.x - to.x, now[1] + from.y - to.y, now[2], now[3]]); return; }
    frame.setAttribute("x", Math.min(from.x, to.x)); frame.setAttribute("width", Math.abs(to.x - from.x));
    frame.setAttribute("y", Math.min(from.y, to.y)); frame.setAttribute("height", Math.abs(to.y - from.y));
    svg.append(frame);
  });
  svg.addEventListener("pointerup", event => {
    const to = at(event), began = from;
    from = null; frame.remove();
    if (!began || box0) return;
    const [width, height] = [Math.abs(to.x - began.x), Math.abs(to.y - began.y)];
    if (width > whole[2] / 100 && height > whole[3] / 100)
      show([Math.min(began.x, to.x), Math.min(began.y, to.y), width, height]);
  });
  svg.addEventListener("pointercancel", () => { from = null; frame.remove(); });
  svg.addEventListener("pointerleave", () => { place.textContent = rest(); });
  svg.addEventListener("dblclick", () => show(whole));
}
document.querySelectorAll("figure svg").forEach(zoomable);

// SQL to take away: a page from a file may have no clipboard, then the text is selected
document.querySelectorAll("pre.take").forEach(pre => {
  const button = document.createElement("button");
  button.type = "button"; button.textContent = "copy";
  button.onclick = async () => {
    getSelection().selectAllChildren(pre);
    try { await navigator.clipboard.writeText(pre.textContent); button.textContent = "copied"; }
    catch { button.textContent = "selected: press Ctrl+C"; }
  };
  pre.before(button);
});
