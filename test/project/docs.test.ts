// The pages keep their promises: links lead somewhere, programs print what is shown, guarantees name tests that exist.

import * as fs from "node:fs"
import * as path from "node:path"
import { BackendRegistry } from "effect-rhapsody"
import { describe, expect, it } from "vitest"
import { blocks, headings, links, page, pages, printedBy, shown } from "./documentation.js"
import { root } from "./support.js"

const readme = page("README.md")

describe("README.md", () => {
  it("has at most 160 lines", () => {
    expect(readme.trimEnd().split("\n").length).toBeLessThanOrEqual(160)
  })

  it("has a first program of at most 25 lines", () => {
    const [first] = blocks(readme)
    expect(shown(readme)[0]?.code).toBe(first)
    expect(first!.trimEnd().split("\n").length).toBeLessThanOrEqual(25)
  })

  it("links to every other page", () => {
    const linked = new Set(links({ path: "README.md", text: readme }).map((link) => link.path))
    expect(pages.length).toBeGreaterThan(1)
    expect(pages.map(({ path }) => path).filter((name) => name !== "README.md" && !linked.has(name))).toEqual([])
  })
})

describe("the pages", () => {
  const all = pages.flatMap(links)

  it("link to files, folders and headings that are there", () => {
    expect(all.length).toBeGreaterThan(5)
    const wrong = all.filter((link) => {
      if (!fs.existsSync(path.join(root, link.path))) return true
      return link.heading !== undefined && !headings(page(link.path)).includes(link.heading)
    })
    expect(wrong).toEqual([])
  })

  const programs = pages.flatMap(({ path, text }) => shown(text).map((program) => ({ path, ...program })))
  it.each(programs)("a program of $path prints what is shown", async ({ code, printed }) => {
    expect(await printedBy(code)).toBe(printed)
  })
})

describe("test/README.md", () => {
  it("names a test that exists for each guarantee", () => {
    const rows = [...page("test/README.md").matchAll(/^\|.*\| `(test\/[^`]+)`: (.+?) \|$/gm)]
    expect(rows.length).toBeGreaterThan(8)
    for (const [, file, name] of rows) {
      const source = fs.readFileSync(path.join(root, file!), "utf8").replace(/\$\{\w+\}/g, "…")
      expect(source, `${file} has no test "${name}"`).toContain(name!)
    }
  })
})

describe("the options of backends", () => {
  const limits = Object.keys(BackendRegistry.backends.find(({ name }) => name === "noop")!.config!)
  const engines = { concurrent: "src/ConcurrentBackend.md", dask: "src/DaskBackend.md", noop: "examples/README.md" }
  const upper = (key: string) => key.replace(/[A-Z]/g, "_$&").toUpperCase()

  it.each(Object.entries(engines))("of %s are in a table, with their variables", (name, where) => {
    const { config = {}, options } = BackendRegistry.backends.find((entry) => entry.name === name)!
    const all = Object.keys((options as unknown as { readonly fields: object }).fields)
    expect(all.length).toBeGreaterThan(4)
    const missing = all.filter((key) => {
      const [text, prefix] = limits.includes(key)
        ? [page("examples/README.md"), "..."]
        : [page(where), `RHAPSODY_${name.toUpperCase()}`]
      const row = text
        .split("\n")
        .find((line) => line.startsWith("| `") && line.split(" | ")[0]!.includes(`\`${key}\``))
      return row === undefined || (key in config && !row.includes(`\`${prefix}_${upper(key)}\``))
    })
    expect(missing).toEqual([])
  })
})

describe("coming from RHAPSODY", () => {
  const [, section] = /^## Coming from RHAPSODY$([\s\S]*?)(?=^## |$(?![\s\S]))/m.exec(page("examples/README.md"))!
  // All names of its two API references, in their order.
  const names = [
    ...["BaseExecutionBackend", "build_task(task)", "cancel_task(uid)", "get_task_states_map()"],
    ...["link_explicit_data_deps(src_task, dst_task, file_name, file_path)"],
    ...["link_implicit_data_deps(src_task, dst_task)", "register_callback(func)", "shutdown()", "state()"],
    ...["submit_tasks(tasks)", "task_state_cb(task, state)", "NotImplementedError"],
    ...[
      "DaskExecutionBackend(resources)",
      "__aenter__()",
      "__aexit__()",
      "__await__()",
      "cancel_all_tasks()",
      "create()"
    ],
    ...["StateMapper", "uid", "function", "args", "kwargs", "executable", "task_backend_specific_kwargs"],
    ...["RadicalExecutionBackend(resources, raptor_config)", "session", "task_manager", "pilot_manager"],
    ...["resource_pilot", "tasks", "raptor_mode", "masters", "workers", "master_selector", "_callback_func"],
    ...["resource", "runtime", "exit_on_error", "cores", "gpus", "arguments", "ranks", "worker_type", "is_service"],
    ...["build_task(uid, task_desc, task_backend_specific_kwargs)", "get_nodelist()", "select_master()"],
    ...["setup_raptor_mode(raptor_config)", "rhapsody.discover_backends()"],
    ...["rhapsody.get_backend(backend_name, *args, **kwargs)", "BackendRegistry.get_backend_class(backend_name)"],
    ...["BackendRegistry.list_backends()", "BackendRegistry.register_backend(name, import_path)", "ValueError"],
    ...["ImportError", "rhapsody.register_backend(name, backend_class)", "rhapsody.list_backends()", "BaseBackend"],
    ...["RhapsodyError(message, details)", "BackendError(message, backend_type, details)"],
    ...["TaskError(message, task_uid, exit_code, details)", "ConfigurationError(message, config_key, details)"],
    ...["wait(timeout)", "terminate()", "TaskDict", "TaskList", "CallbackFunction", "ResourceDict", "ConfigDict"],
    ...["TaskState", "NEW", "WAITING", "READY", "EXECUTING", "COMPLETED", "FAILED", "RETRYING", "CANCELED"],
    ...["BackendType", "CONCURRENT", "DASK", "RADICAL_PILOT"],
    ...["Defaults", "BACKEND_TYPE", "MAX_WORKERS", "RETRY_ATTEMPTS", "RETRY_DELAY", "TIMEOUT"]
  ]

  it("has every name of its API references", () => {
    expect(names.filter((name) => !section!.includes(`\`${name}\``))).toEqual([])
  })
})
