"use strict";
/* Renews the page from /status. Text only ever becomes text (textContent), never markup.
   The words come from sidecar/admin/texts.py, the shapes from render.py. */
(() => {
  const words = JSON.parse(document.getElementById("words").textContent);
  const $ = (id) => document.getElementById(id);
  const EVERY = 2000;
  let paused = false;
  let latest = Date.now();

  const at = (thing, path) =>
    path.reduce((t, key) => (t !== null && typeof t === "object" && Object.hasOwn(t, key) ? t[key] : null), thing);
  const sum = (numbers) => numbers.reduce((a, b) => a + (b || 0), 0);
  const count = (n) => (n === null ? words.never : Number(n).toLocaleString("en-US"));
  const iso = (t) => new Date(t * 1000).toISOString().slice(0, 19) + "Z";
  const state = (name) => (Object.hasOwn(words.states, name) ? words.states[name] : words.unknown);

  const duration = (seconds) => {
    for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "min"]]) {
      if (seconds >= 2 * size) return `${Math.floor(seconds / size)} ${unit}`;
    }
    return `${Math.floor(seconds)} s`;
  };
  const moment = (t, now) => {
    if (t === null) return words.never;
    if (t > now + 1) return `in ${duration(t - now)}`;
    return now - t >= 1 ? `${duration(now - t)} ago` : "now";
  };
  const sentence = ({ kind, detail, before, count: n }) => {
    if (kind === "state") {
      detail = state(detail)[1];
      before = before && state(before)[1];
    }
    for (const key of [`${kind}.${detail}`, before ? kind : `${kind}.first`, kind]) {
      if (Object.hasOwn(words.events, key)) {
        return words.events[key].replace("{count}", () => n).replace("{detail}", () => detail).replace("{before}", () => before);
      }
    }
    return `${kind} ${detail}`;
  };
  const say = (node, text) => {
    if (node.textContent !== text) node.textContent = text;
  };

  const show = {
    text: (node, value) => say(node, value === null ? words.never : String(value)),
    count: (node, value) => say(node, count(value)),
    sum: (node, value) => say(node, count(sum(value || []))),
    moment: (node, value, now) => {
      say(node, moment(value, now));
      if (value !== null) node.dateTime = node.title = iso(value);
    },
    state: (node, status) => {
      const [level, word, text] = state(status.state);
      node.className = `state ${level}`;
      say(node.children[0], word);
      say(node.children[1], text);
    },
    trouble: (node, status) => {
      const said = [status.last_error, status.remedy].filter(Boolean);
      node.hidden = said.length === 0;
      say(node, said.join(". "));
    },
    used: (node, { created, rotate_before: due }, now) => {
      const life = due - created;
      node.value = created === null || life <= 0 ? Number(now >= due) : (now - created) / life;
      say(node, `${Math.round(100 * node.value)}%`);
    },
    bars: (node, counts) => {
      const most = Math.max(...counts);
      const full = node.viewBox.baseVal.height;
      counts.forEach((n, i) => {
        const height = n > 0 ? Math.max(3, Math.round((full * n) / most)) : 0;
        node.children[i].setAttribute("height", height);
        node.children[i].setAttribute("y", full - height);
      });
    },
    events: (node, events, now) => {
      const items = (events || []).map((event) => {
        const item = document.createElement("li");
        const time = document.createElement("time");
        time.dateTime = iso(event.at);
        time.textContent = moment(event.at, now);
        item.append(time, ` ${sentence(event)}`);
        return item;
      });
      if (items.length === 0) {
        items.push(document.createElement("li"));
        items[0].textContent = words.nothing;
      }
      node.replaceChildren(...items);
    },
  };

  const renew = (status) => {
    const names = JSON.stringify([Object.keys(status.upstreams || {}), Object.keys(status.webhooks || {})]);
    if (names !== JSON.stringify(JSON.parse(document.querySelector("main").dataset.names))) {
      location.reload(); // Another process with other settings answers here now.
      return;
    }
    for (const node of document.querySelectorAll("[data-path]")) {
      show[node.dataset.as](node, at(status, JSON.parse(node.dataset.path)), status.now);
    }
    for (const node of document.querySelectorAll("[data-paths]")) {
      say(node, count(sum(JSON.parse(node.dataset.paths).map((path) => at(status, path)))));
    }
    const levels = Object.values(status.upstreams || {}).map((upstream) => state(upstream.state)[0]);
    const level = ["bad", "warn"].find((one) => levels.includes(one)) || "good";
    $("overall").className = status.draining ? "warn" : level;
    say($("overall"), words.overall[status.draining ? "draining" : level]);
    $("asof").dateTime = iso(status.now);
    say($("asof"), iso(status.now));
  };

  const poll = async () => {
    if (!paused && !document.hidden) {
      try {
        const answer = await fetch("status", { cache: "no-store", signal: AbortSignal.timeout(5000) });
        renew(await answer.json());
        latest = Date.now();
        $("lost").hidden = true;
      } catch {
        $("lost").hidden = false;
        say($("lost"), `The sidecar has not answered this page for ${duration((Date.now() - latest) / 1000)}; the values are old.`);
      }
    }
    setTimeout(poll, EVERY);
  };

  $("pause").hidden = false;
  $("pause").addEventListener("click", () => {
    paused = !paused;
    say($("pause"), paused ? "Go on" : "Pause");
  });
  document.addEventListener("visibilitychange", () => { latest = Date.now(); });
  setTimeout(poll, EVERY);
})();
