// Keeps the page fresh without losing what is open, and says when it is not. Without it the page
// reloads as a whole.
'use strict';
const stale = document.getElementById('stale');
let since = new Date(), busy = false;
async function refresh() {
  const at = document.activeElement;
  if (busy || document.hidden || at?.tagName === 'INPUT' || !getSelection().isCollapsed) return;
  busy = true;
  try {
    const reply = await fetch(location.href, {cache: 'no-store', signal: AbortSignal.timeout(8000)});
    if (!reply.ok) throw new Error(reply.statusText);
    const next = new DOMParser().parseFromString(await reply.text(), 'text/html');
    for (const open of document.querySelectorAll('details[open]')) {
      next.getElementById(open.id)?.setAttribute('open', '');
    }
    const focused = at?.closest('[id]')?.id, summary = at?.tagName === 'SUMMARY';
    document.querySelector('main').replaceWith(next.querySelector('main'));
    document.title = next.title;
    if (focused) {
      const again = document.getElementById(focused);
      (summary ? again?.querySelector('summary') : again)?.focus({preventScroll: true});
    }
    since = new Date();
    stale.hidden = true;
  } catch {
    stale.textContent = 'keysetd does not answer. What stands here is of ' + since.toISOString().slice(0, 19).replace('T', ' ') + ' UTC.';
    stale.hidden = false;
    document.title = '✖ no answer – keysetd';
  } finally {
    busy = false;
  }
}
setInterval(refresh, 10000);
document.addEventListener('visibilitychange', refresh);
