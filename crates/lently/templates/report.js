'use strict';
// Filters the comments of the page. Texts are only ever set as text; nothing is fetched, nothing is stored.
(() => {
  const PAGE = 50;
  const at = (id) => document.getElementById(id);
  const data = JSON.parse(at('data').textContent);
  const comments = data.comments.map((row, place) => {
    const [id, parent, author, text, likes, replies, second, sentiment, score, category, language, toxic, themes] = row;
    const time = second === null ? '' : new Date(second * 1000).toISOString();
    return {
      place, id, parent, author, text, likes, replies, time, day: time.slice(0, 10), score, toxic, themes,
      sentiment: data.sentiments[sentiment], category: data.categories[category],
      language: data.languages[language][0], languageName: data.languages[language][1],
    };
  });
  const number = (value) => value.toLocaleString('en-US');
  const plain = (text) => text.normalize('NFKD').replace(/\p{M}/gu, '').toLowerCase();
  const controls = ['sentiment', 'category', 'language', 'theme'].map(at).filter(Boolean);
  const search = at('search');
  const order = at('order');

  // What a number leads to and no control can say: { told, test }.
  let picked = null;
  let page = 0;
  let here = null;

  const tests = {
    places: (value) => {
      const places = new Set(value.split(',').map(Number));
      return { told: 'behind a sentence of the summary', test: (one) => places.has(one.place) };
    },
    time: (value) => {
      const [from, until] = value.split('/');
      const last = new Date(Date.parse(until) - 864e5).toISOString().slice(0, 10);
      const told = from === last ? `written on ${from}` : `written from ${from} to ${last}`;
      return { told, test: (one) => one.day >= from && one.day < until };
    },
    toxic: () => ({ told: 'insults or threats', test: (one) => one.toxic === 1 }),
    author: (value) => ({
      told: `by ${value}, but for spam`,
      test: (one) => one.author === value && one.category !== 'spam',
    }),
    thread: (value) => {
      const place = Number(value);
      const top = comments[place].parent ?? place;
      here = place;
      return { told: 'one comment and the replies to it', test: (one) => one.place === top || one.parent === top };
    },
    all: () => null,
  };

  function reset() {
    for (const control of controls) control.value = '';
    search.value = '';
    order.value = 'read';
    picked = here = null;
    page = 0;
  }

  function pick(by) {
    const cut = by.indexOf(':');
    const [name, value] = cut < 0 ? [by, ''] : [by.slice(0, cut), by.slice(cut + 1)];
    reset();
    const control = controls.find((one) => one.id === name);
    if (control) control.value = value;
    else if (tests[name]) picked = tests[name](value);
    if (here !== null) page = Math.floor(found().findIndex((one) => one.place === here) / PAGE);
    show();
    // Behind the click's own way to the heading.
    if (here !== null) setTimeout(() => document.querySelector('.here')?.scrollIntoView({ block: 'center' }));
  }

  const orders = {
    read: (a, b) => a.place - b.place,
    likes: (a, b) => b.likes - a.likes,
    replies: (a, b) => b.replies - a.replies,
    newest: (a, b) => (a.time < b.time ? 1 : a.time > b.time ? -1 : 0),
    // What has no time is last in either order.
    oldest: (a, b) => (a.time === b.time ? 0 : !a.time ? 1 : !b.time ? -1 : a.time < b.time ? -1 : 1),
    best: (a, b) => b.score - a.score,
    worst: (a, b) => a.score - b.score,
  };

  function found() {
    const words = plain(search.value).split(/\s+/).filter(Boolean);
    const wanted = controls.filter((control) => control.value !== '');
    const fits = (one) =>
      wanted.every((control) =>
        control.id === 'theme' ? one.themes.includes(Number(control.value)) : one[control.id] === control.value) &&
      (!picked || picked.test(one)) &&
      (!words.length || words.every((word) => (one.plain ??= plain(`${one.author} ${one.text}`)).includes(word)));
    return comments.filter(fits).sort((a, b) => orders[order.value](a, b) || a.place - b.place);
  }

  function element(name, className, text) {
    const made = document.createElement(name);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  }

  function button(text, act) {
    const made = element('button', '', text);
    made.type = 'button';
    made.addEventListener('click', act);
    return made;
  }

  const counted = (count, one, many) => `${number(count)} ${count === 1 ? one : many}`;

  function told(one) {
    const line = element('p', 'told');
    const score = `${one.score < 0 ? '-' : '+'}${Math.abs(one.score).toFixed(2)}`;
    const language = one.language === 'und' ? 'language cannot be told' : one.languageName;
    const parts = [`${one.sentiment} ${score}`, one.category, language];
    if (one.toxic) parts.push('insult or threat');
    parts.push(counted(one.likes, 'like', 'likes'));
    // The dot stays with what it follows.
    const dot = '\u00a0· ';
    line.append(parts.join(dot));
    const hasThread = one.parent !== null || comments.some((other) => other.parent === one.place);
    const replies = one.replies ? counted(one.replies, 'reply', 'replies') : '';
    if (hasThread) {
      const name = one.parent !== null ? 'its thread' : replies || 'replies';
      line.append(dot, button(name, () => { pick(`thread:${one.place}`); at('comments').focus(); }));
    } else if (replies) {
      line.append(`${dot}${replies}`);
    }
    if (data.video) {
      const link = element('a', '', 'on YouTube');
      link.href = `https://www.youtube.com/watch?v=${encodeURIComponent(data.video)}&lc=${encodeURIComponent(one.id)}`;
      link.target = '_blank';
      link.rel = 'noopener noreferrer';
      line.append(dot, link);
    }
    return line;
  }

  // A reply is set in where it stands below what it replies to.
  function item(one, below) {
    const made = element('li', one.sentiment);
    if (below) made.classList.add('reply');
    if (one.place === here) made.classList.add('here');
    const who = element('p', 'who');
    const day = element('time', '', one.day);
    day.dateTime = one.time;
    who.append(element('bdi', '', one.author), ' ', day);
    const text = element('p', 'text', one.text);
    text.dir = 'auto';
    if (one.language !== 'und') text.lang = one.language;
    made.append(who, text, told(one));
    return made;
  }

  function chips() {
    const named = controls.filter((control) => control.value !== '').map((control) => ({
      text: `${control.id}: ${control.selectedOptions[0].textContent}`, clear: () => { control.value = ''; },
    }));
    if (search.value.trim()) named.push({ text: `“${search.value.trim()}”`, clear: () => { search.value = ''; } });
    if (picked) named.push({ text: picked.told, clear: () => { picked = here = null; } });
    const made = named.map(({ text, clear }) => {
      const chip = button(text, () => { clear(); page = 0; show(); search.focus(); });
      chip.setAttribute('aria-label', `stop filtering by ${text}`);
      return chip;
    });
    at('chips').replaceChildren(...made);
    at('chips').hidden = made.length === 0;
    return made.length > 0;
  }

  function show() {
    const rows = found();
    const last = Math.max(0, Math.ceil(rows.length / PAGE) - 1);
    page = Math.min(page, last);
    const filtered = chips();
    const all = counted(comments.length, 'comment', 'comments');
    at('found').textContent = filtered ? `${number(rows.length)} of ${all}` : all;
    const places = order.value === 'read' ? new Set(rows.map((one) => one.place)) : new Set();
    const onPage = rows.slice(page * PAGE, (page + 1) * PAGE);
    at('rows').replaceChildren(...onPage.map((one) => item(one, places.has(one.parent))));
    at('pages').hidden = last === 0;
    at('page').textContent = `${number(page * PAGE + 1)}–${number(Math.min(rows.length, (page + 1) * PAGE))}`;
    at('earlier').disabled = page === 0;
    at('later').disabled = page === last;
  }

  function turn(step) {
    page += step;
    show();
    at('comments').focus();
    at('comments').scrollIntoView();
  }

  document.addEventListener('click', (event) => {
    const link = event.target.closest('[data-pick]');
    if (link) pick(link.getAttribute('data-pick'));
  });
  for (const control of [...controls, order]) control.addEventListener('change', () => { page = 0; show(); });
  let waiting = 0;
  search.addEventListener('input', () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => { page = 0; show(); }, 120);
  });
  at('filters').addEventListener('submit', (event) => event.preventDefault());
  at('earlier').addEventListener('click', () => turn(-1));
  at('later').addEventListener('click', () => turn(1));
  at('filters').hidden = false;
  show();
})();
