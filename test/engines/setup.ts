/** Before all tests: engines that have to be installed. What cannot be is printed, and its tests are skipped. */
import type { TestProject } from "vitest/node"
import type { Environment } from "./dask.js"
import { provision } from "./dask.js"

declare module "vitest" {
  interface ProvidedContext {
    readonly dask: Environment
  }
}

export default async (project: TestProject): Promise<void> => {
  const dask = await provision()
  if ("missing" in dask) console.error(`\nNO DASK, and its tests are skipped: ${dask.missing}\n`)
  project.provide("dask", dask)
}
