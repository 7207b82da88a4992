// Definitions of every kind, for the type tests.
import { Schema } from "effect"
import { Task } from "effect-rhapsody"

export class Diverged extends Schema.TaggedError<Diverged>()("Diverged", { step: Schema.Int }) {}

export const Simulate = Task.executable("Simulate", {
  payload: { seed: Schema.Int, steps: Schema.Int },
  success: Schema.parseJson(Schema.Struct({ energy: Schema.Number })),
  error: Diverged,
  command: ({ seed, steps }) => ({ executable: "simulate", args: [`${seed}`, `${steps}`] }),
  failure: ({ exitCode }) => (exitCode === 3 ? new Diverged({ step: 7 }) : undefined),
  timeout: "1 minute"
})
export const Hostname = Task.executable("Hostname", { command: () => ({ executable: "hostname" }) })
export const Mean = Task.function("Mean", { payload: { values: Schema.Array(Schema.Number) }, success: Schema.Number })
export const Train = Task.python("Train", {
  callable: "model.train:fit",
  payload: { target: Schema.Number },
  success: Schema.Struct({ loss: Schema.Number }),
  resources: { gpus: 1 }
})
export const Echo = Task.service("Echo", {
  info: Schema.Struct({ port: Schema.NumberFromString }),
  command: () => ({ executable: "serve" }),
  ready: /listening on port (?<port>\d+)/
})
