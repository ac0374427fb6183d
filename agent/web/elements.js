// Makes elements. Only textContent and attributes are set: nothing that is shown becomes markup.

export const at = (id) => document.getElementById(id);

export function make(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children.map((child) => (child instanceof Node ? child : String(child))));
  return element;
}

export function heading(scope, ...children) {
  const cell = make("th", "", ...children);
  cell.scope = scope;
  return cell;
}
