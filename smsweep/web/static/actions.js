// What a reader may do to sweeps and trials; what cannot be taken back is asked about first.

import { Refused, change, path } from "./api.js";
import { confirmed } from "./dialog.js";
import { many, say } from "./dom.js";

async function tried(work, done) {
  try {
    const answer = await work();
    say(typeof done === "function" ? done(answer) : done);
    return answer;
  } catch (err) {
    say(err instanceof Refused ? err.problems.join("\n") : `That did not work: ${err.message}`, true);
    return null;
  }
}

const SAID = { pause: "paused: no new trials start", resume: "goes on: agents start new trials", stop: "stopped: running trials may end",
  cancel: "cancelled: running trials are ended" };
const ASKED = {
  stop: ["Stop this sweep?", "No new trials start; those that run may end. Resume takes it up again.", "Stop it"],
  cancel: ["Cancel this sweep?", "Running trials are killed, and no new ones start. What they have reported is kept.", "Cancel it"],
};

export async function setState(sweepId, verb) {
  if (ASKED[verb] && !(await confirmed(...ASKED[verb]))) return null;
  return tried(() => change(path("api", "sweeps", sweepId, verb)), `sweep ${sweepId} ${SAID[verb]}`);
}

export const retry = (labels, failed = false) => tried(() => change("/api/retry", { labels, failed }),
  ({ labels: again }) => (again.length ? `${many(again.length, "trial")} will run again, once an agent takes them` : "none has failed"));

export async function remove(labels) {
  const isSweep = labels.some((label) => !label.includes("/"));
  const what = isSweep ? `sweep ${labels[0]} with all its trials` : many(labels.length, "trial");
  const text = `${isSweep ? "The sweep, its trials," : "Their results,"} logs and checkpoints on this machine are deleted for good.`;
  if (!(await confirmed(`Remove ${what}?`, text, "Remove"))) return null;
  return tried(() => change("/api/remove", { labels }), `removed ${what}`);
}
