import { fileURLToPath } from "node:url"
import { configDefaults, defineConfig } from "vitest/config"

// `import "effect-rhapsody"` in tests and examples means src, the same modules as a relative import.
const conditions = ["effect-rhapsody-source", "module", "node", "development|production"]

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    include: ["test/**/*.test.ts"],
    globalSetup: [fileURLToPath(new URL("test/engines/setup.ts", import.meta.url))],
    exclude: [...configDefaults.exclude, "test/project/fixtures/**"],
    pool: "forks",
    fileParallelism: true,
    maxWorkers: 2,
    minWorkers: 1,
    // Long enough for a machine that does other work: a test fails by what it sees, not by the time it takes.
    testTimeout: 300_000,
    hookTimeout: 300_000
  }
})
