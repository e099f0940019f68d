// Where the data come from: ranges of a web host, scripts next to the page, or a chosen folder.
"use strict";

const GAP = 1024; // bytes; reading a smaller gap costs less than another request
const MOST = 4 << 20; // bytes of one request, so that progress is seen
const AT_ONCE = 6; // requests
const WHOLE = 64 << 20; // bytes; larger files are not read from a host without ranges

const megabytes = (bytes) => (bytes < 1e5 ? "under 0.1 MB" : `${(bytes / 1e6).toLocaleString("en", { maximumFractionDigits: bytes < 1e7 ? 1 : 0 })} MB`);
const scripts = new Map(); // what scripts of data handed over

function siteData(name, text) {
  scripts.set(name, Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)));
}

// Files of a web host, by HTTP ranges.
class WebSource {
  constructor() {
    this.bytes = 0;
    this.requests = 0;
    this.whole = new Map();
    this.first = null;
  }
  async read(name, start, end) {
    if (this.first) await this.first.catch(() => {}); // it says whether the host knows ranges
    if (this.whole.has(name)) return (await this.whole.get(name)).subarray(start, end);
    const asked = this.ask(name, start, end);
    this.first ??= asked;
    return asked;
  }
  async ask(name, start, end) {
    let response;
    const headers = { Range: `bytes=${start}-${end - 1}` };
    this.requests += 1;
    try {
      response = await fetch(`data/${name}?v=${ABOUT.key}`, { headers });
    } catch {
      throw new Error("The data cannot be read. Check the connection, then try again.");
    }
    if (!response.ok) {
      throw new Error(`The host answers ${response.status} for data/${name}. Copy the whole folder to it, with the folder “data”.`);
    }
    if (response.status !== 206) return (await this.readWhole(name, response)).subarray(start, end);
    const found = new Uint8Array(await response.arrayBuffer());
    this.bytes += found.length;
    if (found.length !== end - start) {
      throw new Error(`The host sends ${found.length} bytes of data/${name} instead of ${end - start}: it changes files as it sends them. Turn off compression for “.bin”.`);
    }
    return found;
  }
  readWhole(name, response) {
    const size = ABOUT.sizes[name];
    if (size > WHOLE) {
      response.body?.cancel();
      throw new Error(`This host does not send parts of files (HTTP ranges), and data/${name} has ${megabytes(size)}. Use a host that does, such as nginx, Apache, Caddy, GitHub Pages or S3.`);
    }
    if (!this.whole.has(name)) {
      this.whole.set(name, response.arrayBuffer().then((data) => {
        this.bytes += data.byteLength;
        return new Uint8Array(data);
      }));
    }
    return this.whole.get(name);
  }
}

// Files of a small archive as scripts: a browser loads those from a disk, too.
class ScriptSource {
  constructor() {
    this.bytes = 0;
    this.requests = 0;
    this.loading = new Map();
  }
  async read(name, start, end) {
    if (!this.loading.has(name)) this.loading.set(name, this.load(name));
    await this.loading.get(name);
    return scripts.get(name).subarray(start, end);
  }
  async load(name) {
    this.requests += 1;
    await loadScript(name);
    this.bytes += scripts.get(name).length;
  }
}

// Load a script of data, which a page may do from a disk, too.
function loadScript(name) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = `data/${name}.js`;
    script.onload = resolve;
    script.onerror = () => reject(new Error(`data/${name}.js is missing. Copy the whole folder, with the folder “data”.`));
    document.head.append(script);
  });
}

// Files that a person chose: a browser reads parts of those without a server.
class ChosenSource {
  constructor(files) {
    this.bytes = 0;
    this.requests = 0;
    this.files = new Map([...files].map((file) => [file.name, file]));
    for (const [name, size] of Object.entries(ABOUT.sizes)) {
      if (this.files.get(name)?.size !== size) {
        throw new Error(`The chosen folder lacks ${name} of ${megabytes(size)}. Choose the folder “data” next to this page.`);
      }
    }
  }
  async read(name, start, end) {
    this.requests += 1;
    this.bytes += end - start;
    return new Uint8Array(await this.files.get(name).slice(start, end).arrayBuffer());
  }
}

// Read several ranges of a file, sorted by their start; near ones in one request.
async function readRanges(source, name, ranges, progress = () => {}) {
  const runs = [];
  ranges.forEach(([start, end], at) => {
    const run = runs.at(-1);
    if (run && start - run.end <= GAP && end - run.start <= MOST) {
      run.end = Math.max(run.end, end);
      run.members.push(at);
    } else runs.push({ start, end, members: [at] });
  });
  const found = new Array(ranges.length);
  let next = 0;
  const work = async () => {
    while (next < runs.length) {
      const run = runs[next++];
      const data = await source.read(name, run.start, run.end);
      for (const at of run.members) found[at] = data.subarray(ranges[at][0] - run.start, ranges[at][1] - run.start);
      progress(run.end - run.start);
    }
  };
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, runs.length) }, work));
  return found;
}

// A file of equal items, read and kept in pages of some items each.
class Column {
  constructor(source, name, { width, page, count }) {
    Object.assign(this, { source, name: `${name}.bin`, width, page, count, kept: new Map() });
  }
  span(number) {
    return [number * this.page * this.width, Math.min((number + 1) * this.page, this.count) * this.width];
  }
  missing(pages) {
    return pages.filter((number) => !this.kept.has(number));
  }
  // Pages are sorted and distinct. Neighbouring pages are asked for as one range.
  async load(pages, progress) {
    const wanted = this.missing(pages);
    const most = Math.max(1, Math.floor(MOST / (this.page * this.width)));
    const runs = [];
    for (const number of wanted) {
      const run = runs.at(-1);
      if (run && run[1] === number - 1 && number - run[0] < most) run[1] = number;
      else runs.push([number, number]);
    }
    const ranges = runs.map(([first, last]) => [this.span(first)[0], this.span(last)[1]]);
    const found = await readRanges(this.source, this.name, ranges, progress);
    runs.forEach(([first, last], at) => {
      for (let number = first; number <= last; number++) {
        const [start, end] = this.span(number);
        this.kept.set(number, found[at].subarray(start - ranges[at][0], end - ranges[at][0]));
      }
    });
  }
  at(number) {
    return this.kept.get(number);
  }
  async view(number) {
    await this.load([number]);
    const bytes = this.at(number);
    return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }
}
