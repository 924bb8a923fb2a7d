// The page: which dimensions there are, and one of them.

import { useCallback, useEffect, useMemo, useRef, useState } from "preact/hooks";

import { ApiError, IS_TOKEN, ask, token, urlOf } from "./api.js";
import { Dimension } from "./dimension.jsx";
import { Failure, follow } from "./parts.jsx";
import { TableFeed } from "./table_feed.js";
import { sentence } from "./text.js";
import { changed, fragmentOf, tableParameters, tablePath, viewOf } from "./view.js";

/** How often an empty service is asked whether it is still empty, in milliseconds. */
const PATIENCE = 30_000;

export function App() {
  const [view, go] = useView();
  const { names, error, load } = useDimensions();
  const [denial, setDenial] = useState();
  const [hasToken, setHasToken] = useState(token.get() !== "");
  const [feed, state] = useFeed();
  const [isAutomatic, setAutomatic] = useState(true);

  const dim = view.dim || names?.[0] || "";
  const shown = useMemo(() => ({ ...view, dim }), [view, dim]);
  useEffect(() => {
    document.title = dim ? `${dim} · statshub` : "statshub";
    if (dim) feed.show({ dim, path: tablePath(shown), parameters: tableParameters(shown) });
  }, [feed, shown, dim]);

  // What somebody changes, they change in the view of that moment, whenever the handler was made.
  const latest = useRef();
  latest.current = shown;
  useEffect(() => setDenial(undefined), [view.of]);
  const change = useCallback((what, options) => go(changed(latest.current, what), options), [go]);
  const retry = () => {
    setDenial(undefined);
    load();
    feed.refresh();
  };
  const useToken = (value) => {
    token.set(value);
    setHasToken(value !== "");
    // Without a token, nothing that it has opened stays on the screen.
    if (value === "") location.reload();
    else retry();
  };
  const automatic = (value) => {
    setAutomatic(value);
    feed.isAutomatic = value;
  };
  const denied = [denial, error, state.error].find((it) => it?.status === 401 || it?.status === 403);

  return (
    <>
      <header class="top">
        <h1 class="brand">
          <a href="#" onClick={(event) => follow(event, () => go(viewOf("")))}>
            statshub
          </a>
        </h1>
        <label class="check">
          <input
            type="checkbox"
            checked={isAutomatic}
            onChange={(event) => automatic(event.currentTarget.checked)}
          />
          Refresh automatically
        </label>
        {hasToken && (
          <button type="button" onClick={() => useToken("")}>
            Forget the token
          </button>
        )}
      </header>
      <main>
        {denied && <TokenForm denied={denied} onToken={useToken} />}
        {!denied && error && !state.error && <Failure error={error} onRetry={retry} />}
        {!names && !error && !dim && (
          <p class="notice" aria-busy="true">
            Loading…
          </p>
        )}
        {names?.length > 0 && <Dimensions names={names} shown={shown} change={change} />}
        {names?.length === 0 && !view.dim && <Empty needsToken={hasToken} onRetry={load} />}
        {dim && (!denied || state.table) && (
          <Dimension
            key={dim}
            view={shown}
            state={state}
            isDenied={Boolean(denied)}
            isAutomatic={isAutomatic}
            needsToken={hasToken}
            change={change}
            onRefresh={retry}
            onDenied={setDenial}
          />
        )}
      </main>
      <footer class="bottom">
        <a href={urlOf("openapi.yaml")}>The API in OpenAPI</a>
        <a href={urlOf(LICENSES)}>Licenses</a>
      </footer>
    </>
  );
}

/** The view that the URL has, and how to go to another one. */
function useView() {
  const [view, setView] = useState(() => viewOf(location.hash));
  useEffect(() => {
    const read = () => setView(viewOf(location.hash));
    addEventListener("popstate", read);
    return () => removeEventListener("popstate", read);
  }, []);
  const go = useCallback((next, { replaces = false, state = null } = {}) => {
    const fragment = fragmentOf(next);
    if (replaces) history.replaceState(history.state, "", fragment);
    else history.pushState(state, "", fragment);
    setView(viewOf(fragment));
  }, []);
  return [view, go];
}

/** The names of all dimensions. As long as there are none, it asks again and again. */
function useDimensions() {
  const [state, setState] = useState({});
  const load = useCallback(async () => {
    try {
      const { text } = await ask("dimensions", []);
      setState({ names: JSON.parse(text).dimensions });
    } catch (error) {
      setState((before) => ({
        ...before,
        error: error instanceof ApiError ? error : new ApiError(undefined, String(error)),
      }));
    }
  }, []);
  useEffect(() => {
    load();
  }, [load]);
  const isWaiting = state.names?.length === 0 || mayPass(state.error);
  useEffect(() => {
    if (!isWaiting) return;
    const timer = setInterval(() => document.visibilityState === "visible" && load(), PATIENCE);
    return () => clearInterval(timer);
  }, [isWaiting, load]);
  return { ...state, load };
}

function mayPass(error) {
  return error && (error.status === 0 || error.status === 429 || error.status >= 500);
}

function useFeed() {
  const [state, setState] = useState({ isLoading: false, moved: new Map() });
  const feed = useMemo(() => new TableFeed(setState), []);
  useEffect(() => () => feed.stop(), [feed]);
  return [feed, state];
}

function TokenForm({ denied, onToken }) {
  const [value, setValue] = useState("");
  const [isMalformed, setMalformed] = useState(false);
  const submit = (event) => {
    event.preventDefault();
    const given = value.trim();
    setMalformed(!IS_TOKEN.test(given));
    setValue("");
    if (IS_TOKEN.test(given)) onToken(given);
  };
  return (
    <form class="notice" onSubmit={submit} autocomplete="off">
      <h2>A token is needed</h2>
      <p role="alert">
        {isMalformed
          ? "That is no token: a token has letters, digits and - . _ ~ + / = only."
          : `${refusal(denied)}${sentence(denied.message)}`}
      </p>
      <div class="controls">
        <div class="field">
          <label for="token">Token with the scope read</label>
          <input
            id="token"
            type="password"
            autocomplete="off"
            spellcheck={false}
            value={value}
            onInput={(event) => setValue(event.currentTarget.value)}
          />
        </div>
        <button type="submit" class="primary">
          Use it
        </button>
      </div>
      <p class="hint">It is kept as long as this tab, and sent to this service alone.</p>
    </form>
  );
}

function refusal({ status }) {
  if (status === 403) return "This token may not read: ";
  return token.get() ? "The token is refused: " : "";
}

function Dimensions({ names, shown, change }) {
  const current = useRef();
  // On a phone, the list is longer than the screen is wide.
  useEffect(() => current.current?.scrollIntoView({ block: "nearest", inline: "center" }), [shown.dim]);
  return (
    <nav aria-label="Dimensions">
      <ul class="dimensions">
        {names.map((name) => (
          <li key={name}>
            <a
              href={fragmentOf(changed(shown, { dim: name }))}
              ref={name === shown.dim ? current : undefined}
              aria-current={name === shown.dim ? "page" : undefined}
              onClick={(event) => follow(event, () => change({ dim: name }))}
            >
              <bdi>{name}</bdi>
            </a>
          </li>
        ))}
      </ul>
    </nav>
  );
}

function Empty({ needsToken, onRetry }) {
  const header = needsToken ? ' -H "Authorization: Bearer $STATSHUB_TOKEN"' : "";
  const update = `curl${header} '${urlOf("stats/myid1")}' -d '{"dims":{"country":"es"},"counters":{"hits":1}}'`;
  return (
    <section class="notice">
      <h2 id="title" tabIndex={-1}>
        Nothing is counted yet
      </h2>
      <p>Send a first update{needsToken && ", with a token that may write"}:</p>
      <pre class="scroll" tabIndex={0} aria-label="Command">
        {update}
      </pre>
      <p class="actions">
        <button type="button" onClick={onRetry}>
          Look again
        </button>
      </p>
      <p class="hint">The page looks again by itself every 30 seconds.</p>
    </section>
  );
}
