import { Socket } from "./socket.js";

const element = (id) => document.getElementById(id);
let token = null;

function show(id, good, text) {
  element(id).className = good ? "good" : "bad";
  element(id).textContent = text;
}

// The answer's JSON; an Error with the server's own sentence if it refuses.
async function call(path, options = {}) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const response = await fetch(path, { ...options, headers: { ...headers, ...options.headers } });
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(body.detail ?? body.error ?? `the answer was ${response.status}`);
  return body;
}

const socket = new Socket(async (connected, text) => {
  show("socket-state", connected, text);
  if (connected && token) await joinSocket();
});

async function joinSocket() {
  const user = await socket.ask("user-join", { auth: { token } });
  show("socket-state", Boolean(user), user ? `connected as ${user.name}` : "connected, but not signed in");
}

element("account-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const action = event.submitter.value;
  const account = Object.fromEntries(["name", "email", "password"].map((id) => [id, element(id).value]));
  try {
    const session = await call(`/api/v1/auths/${action}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(account),
    });
    token = session.token;
    show("account-state", true, `Signed in as ${session.name} (${session.email}), role ${session.role}.`);
    element("upload").disabled = false;
    element("upload-state").textContent = "Choose a file.";
    if (socket.channel.readyState === WebSocket.OPEN) await joinSocket();
  } catch (error) {
    show("account-state", false, error.message);
  }
});

element("upload-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = new FormData();
  form.append("file", element("file").files[0]);
  try {
    const file = await call("/api/v1/files", { method: "POST", body: form });
    show("upload-state", true, `Stored ${file.filename}: ${file.meta.size} bytes, MD5 ${file.hash}, id ${file.id}.`);
  } catch (error) {
    show("upload-state", false, error.message);
  }
});

call("/api/version").then(
  (answer) => show("backend-state", true, `version ${answer.version}`),
  (error) => show("backend-state", false, error.message),
);
