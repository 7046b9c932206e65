// Actions on sweeps and trials. Actions that cannot be undone ask for confirmation.

import { Refused, change, path } from "./api.js";
import { confirmAction } from "./dialog.js";
import { many, notify } from "./dom.js";

async function runAction(work, message) {
  try {
    const answer = await work();
    notify(typeof message === "function" ? message(answer) : message);
    return answer;
  } catch (err) {
    notify(err instanceof Refused ? err.problems.join("\n") : `The request failed: ${err.message}`, true);
    return null;
  }
}

const RESULT_TEXT = { pause: "paused: no new trials start", resume: "continues: agents start new trials", stop: "stopped: running trials finish",
  cancel: "cancelled: running trials get SIGTERM, and SIGKILL after their grace period",
  kill: "cancelled: running trials are killed at once" };
const QUESTIONS = {
  stop: ["Stop this sweep?", "No new trials start; running trials finish. You can resume the sweep later.", "Stop sweep"],
  cancel: ["Cancel this sweep?", "No new trials start. Running trials get SIGTERM, and SIGKILL after their grace period (default: 120 s). Their reported metrics are kept.", "Cancel sweep"],
  kill: ["Kill the running trials?", "They end at once, and cannot save a checkpoint. Training jobs on SageMaker always get 120 s.", "Kill trials"],
};

export async function setState(sweepId, verb) {
  if (QUESTIONS[verb] && !(await confirmAction(...QUESTIONS[verb]))) return null;
  const order = verb === "kill" ? "cancel" : verb;  // a repeated cancel kills
  return runAction(() => change(path("api", "sweeps", sweepId, order)), `sweep ${sweepId} ${RESULT_TEXT[verb]}`);
}

export const retry = (labels, failed = false) => runAction(() => change("/api/retry", { labels, failed }),
  ({ labels: again }) => (again.length ? `${many(again.length, "trial")} returned to the queue; an agent runs ${again.length === 1 ? "it" : "them"} next` : "no trial has failed"));

export async function remove(labels) {
  const isSweep = labels.some((label) => !label.includes("/"));
  const what = isSweep ? `sweep ${labels[0]} with all its trials` : many(labels.length, "trial");
  const text = `${isSweep ? "The sweep, its trials," : "Their results,"} logs and checkpoints on this machine are deleted permanently.`;
  if (!(await confirmAction(`Remove ${what}?`, text, "Remove"))) return null;
  return runAction(() => change("/api/remove", { labels }), `removed ${what}`);
}
