/** The keys of a task dictionary and what each takes. Messages never show a value, which may be a secret. */
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { Overflow } from "../../TaskOptions.js"
import { losesAny, losesOwn, lost } from "../options/lost.js"

const nameOf = (value: unknown): string => {
  if (value === null || value === undefined || value === "") return value === "" ? "an empty string" : String(value)
  if (Array.isArray(value)) return "an array"
  return typeof value === "object" ? "an object" : typeof value === "number" ? String(value) : `a ${typeof value}`
}

const must = (be: string) => ({
  message: ({ actual }: { readonly actual: unknown }) => `must be ${be}, not ${nameOf(actual)}`
})
const that = <A>(is: (u: unknown) => u is A, be: string) => Schema.declare(is, must(be))

/** `null` is Python's None: not given. */
const optional = <A>(schema: Schema.Schema<A>) => Schema.optional(Schema.NullOr(schema))

const isString = (u: unknown): u is string => typeof u === "string"
const nonEmpty = that((u): u is string => isString(u) && u !== "", "a non-empty string")
const finite = that((u): u is number => Number.isFinite(u), "a finite number")
const list = <A>(of: Schema.Schema<A>) => Schema.Array(of).annotations(must("a list"))
const without = (loses: (u: unknown) => string | undefined) =>
  Schema.declare((u): u is any => loses(u) === undefined, { message: ({ actual }) => loses(actual) ?? lost })
const record = <A>(of: Schema.Schema<A>): Schema.Schema<{ readonly [name: string]: A }> =>
  Schema.compose(without(losesOwn), Schema.Record({ key: Schema.String, value: of }).annotations(must("a dictionary")))

/** A number is seconds, as everywhere in RHAPSODY. */
export const toDuration = (time: number | string): Option.Option<Duration.Duration> =>
  Option.filter(typeof time === "number" ? Option.some(Duration.seconds(time)) : Duration.decodeUnknown(time), (_) =>
    Duration.greaterThan(_, Duration.zero)
  )
const time = that(
  (u): u is number | string => (isString(u) || Number.isFinite(u)) && Option.isSome(toDuration(u as number | string)),
  'positive seconds, or a duration such as "5 minutes"'
)

const name = "[\\p{ID_Start}_]\\p{ID_Continue}*"
const reference = new RegExp(`^${name}(\\.${name})*:${name}(\\.${name})*$`, "u")
const callable = that(
  (u): u is string => isString(u) && reference.test(u),
  'the name of a Python function, "package.module:callable"'
)

const env = record(that(isString, "a string"))
const lines = list(that(isString, "a string"))
const flag = that((u): u is boolean => typeof u === "boolean", "true or false")
const overflow = that(
  (u): u is Overflow => u === "fail" || u === "truncate" || u === "spill",
  '"fail", "truncate" or "spill"'
)

/** What other tools, or other places of RHAPSODY, call a key that is here: what to write instead. */
const meant: Readonly<Record<string, string>> = {
  command: "executable and arguments",
  cmd: "executable and arguments",
  cores: "resources: { cores }",
  cores_per_rank: "resources: { cores }",
  dependencies: "depends_on",
  environment: "env",
  gpus: "resources: { gpus }",
  gpus_per_rank: "resources: { gpus }",
  input_staging: "input_files",
  mem_per_rank: "resources: { memory }",
  memory: "resources: { memory }",
  name: "uid",
  nodes: "resources: { nodes }",
  output_staging: "output_files",
  preExec: "pre_exec",
  ranks: "resources: { ranks }",
  retries: "retry_count",
  retry: "retry_count",
  walltime: "resources: { walltime }",
  work_dir: "cwd",
  working_directory: "cwd"
}
export const meaning = (key: string): string | undefined => (Object.hasOwn(meant, key) ? meant[key] : undefined)

const notThere = (instead: string) =>
  Schema.optional(
    Schema.declare(
      (u): u is null | undefined | false | readonly [] =>
        u === null || u === undefined || u === false || (Array.isArray(u) && u.length === 0),
      { message: () => instead }
    )
  )

/** Results that RHAPSODY writes into a task's dictionary: nothing is read from them. */
const results = ["state", "exit_code", "return_value", "response", "exception"] as const

const result = notThere("is a result, which a backend gives; a task that is submitted has none")
const captureFile = (key: string) =>
  notThere(`is a result; to write the output to a file, use capture: { ${key}: "path" }`)

const unsupported = {
  backend: notThere("is not a task's to say: provide the layer of the backend, e.g. BackendRegistry.layer(name)"),
  input_files: notThere("is not supported: this version stages no files; give paths that the task can reach"),
  output_files: notThere("is not supported: this version stages no files; give paths that the task can reach"),
  capture_stdio: notThere('is not needed: output is captured, in memory; for files, use capture: { stdout: "path" }'),
  is_service: notThere("is not supported in a dictionary: use Task.service, which says when it is ready"),
  prompt: notThere("is not supported: this version runs no AI tasks"),
  depends_on: notThere(
    "is not supported: this version has no dependencies between tasks; submit a task when those before it have completed"
  ),
  stdout: captureFile("stdout"),
  stderr: captureFile("stderr"),
  ...(Object.fromEntries(results.map((key) => [key, result])) as Record<(typeof results)[number], typeof result>)
}
export const notHere: ReadonlySet<string> = new Set(Object.keys(unsupported))

export const dictionary = {
  uid: optional(nonEmpty),
  executable: optional(nonEmpty),
  arguments: optional(list(that(isString, "a string"))),
  function: optional(callable),
  args: optional(list(Schema.Unknown)),
  kwargs: optional(record(Schema.Unknown)),
  env: optional(env),
  cwd: optional(nonEmpty),
  pre_exec: optional(lines),
  sandbox: optional(flag),
  capture: optional(
    Schema.Struct({
      stdout: optional(nonEmpty),
      stderr: optional(nonEmpty),
      mergeStderr: optional(flag),
      limit: optional(that((u): u is number => Number.isSafeInteger(u) && (u as number) >= 0, "bytes, 0 or more")),
      overflow: optional(overflow),
      append: optional(flag),
      makeDirectories: optional(flag)
    }).annotations(must("a dictionary"))
  ),
  timeout: optional(time),
  priority: optional(finite),
  retry_count: optional(that((u): u is number => Number.isInteger(u) && (u as number) >= 0, "an integer, 0 or more")),
  resources: optional(
    Schema.Struct({
      cores: optional(finite),
      gpus: optional(finite),
      memory: optional(finite),
      ranks: optional(finite),
      nodes: optional(finite),
      walltime: optional(time)
    }).annotations(must("a dictionary"))
  ),
  task_backend_specific_kwargs: optional(
    Schema.compose(
      without((u) => losesAny(u, "must not contain itself")),
      Schema.Struct(
        {
          cwd: optional(nonEmpty),
          env: optional(env),
          pre_exec: optional(lines),
          shell: optional(flag)
        },
        { key: Schema.String, value: Schema.Unknown }
      ).annotations(must("a dictionary"))
    )
  ),
  ...unsupported
}
