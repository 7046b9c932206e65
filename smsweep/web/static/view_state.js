// What the reader has chosen on a page, kept in the query of the URL, so that a link or a reload shows the same view.

export class ViewState {
  constructor() {
    this.params = new URLSearchParams(location.search);
  }

  get(name, usual = "") {
    return this.params.get(name) ?? usual;
  }

  // An empty text removes the parameter.
  set(name, text) {
    if (this.get(name) === text) return;
    if (text) this.params.set(name, text);
    else this.params.delete(name);
    const query = this.params.toString();
    history.replaceState(null, "", `${location.pathname}${query ? `?${query}` : ""}${location.hash}`);
  }

  // Return { get, set } for the parameters with a prefix, as figures expect.
  part(prefix) {
    return { get: (name) => this.get(`${prefix}${name}`), set: (name, text) => this.set(`${prefix}${name}`, text) };
  }
}
