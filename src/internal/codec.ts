/** A definition's schemas, compiled once and when first needed (they may refer to each other through `suspend`). */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import * as AST from "effect/SchemaAST"
import { ConfigurationError, reservedTags } from "../Errors.js"
import { Output } from "../Output.js"

/** What does not fit a schema: where, and why. */
export interface Issue {
  readonly path: string | undefined
  readonly message: string
}
type Parser = (input: unknown) => Effect.Effect<unknown, Issue>

export interface Codec {
  readonly encodePayload: Parser
  readonly decodePayload: Parser
  readonly encodeSuccess: Parser
  readonly decodeSuccess: Parser
  readonly encodeError: Parser
  readonly decodeError: Parser
  /** What the success schema decodes, for a program. */
  readonly result: "text" | "bytes" | "output"
  /** An encoded payload has parts that are the caller's own, and not made by the schema. */
  readonly shares: boolean
  /** A payload has records, whose keys may be anything. */
  readonly records: boolean
  /** Of the encoded payload, in the order of the schema. */
  readonly fields: ReadonlyArray<string>
  /** Constructor defaults filled in; the payload itself when the schema has none. */
  readonly withDefaults: (payload: Readonly<Record<string, unknown>>) => Readonly<Record<string, unknown>>
}

const issue = (error: ParseResult.ParseIssue): Issue => {
  const path = ParseResult.ArrayFormatter.formatIssueSync(error)[0]?.path.map(String).join(".")
  return { path: path === "" ? undefined : path, message: ParseResult.TreeFormatter.formatIssueSync(error) }
}

// Schemas without asynchronous parts answer with an Either: no Effect is built for those.
const parser = (compile: () => (input: unknown) => Effect.Effect<unknown, ParseResult.ParseIssue>): Parser => {
  let parse: ReturnType<typeof compile> | undefined
  return (input) => {
    parse ??= compile()
    const result = parse(input)
    if (!Either.isEither(result)) return Effect.mapError(result, issue)
    return Either.mapLeft(result as Either.Either<unknown, ParseResult.ParseIssue>, issue)
  }
}
const encoder = (schema: Schema.Schema.All) =>
  parser(() => ParseResult.encodeUnknown(schema as Schema.Schema.AnyNoContext))
const decoder = (schema: Schema.Schema.All) =>
  parser(() => ParseResult.decodeUnknown(schema as Schema.Schema.AnyNoContext))

const hasDefault = (field: unknown): boolean => {
  if (!Schema.isPropertySignature(field)) return false
  const { ast } = field
  return (ast._tag === "PropertySignatureDeclaration" ? ast.defaultValue : ast.to.defaultValue) !== undefined
}

/** By name: there may be two copies of this library. */
const isOutput = (success: Schema.Schema.All): boolean =>
  (success as { readonly identifier?: unknown }).identifier === Output.identifier

const resultOf = (success: Schema.Schema.All): Codec["result"] => {
  if (isOutput(success)) return "output"
  const accepts = Schema.is(Schema.encodedSchema(success as Schema.Schema.AnyNoContext))
  return accepts(new Uint8Array()) && !accepts("") ? "bytes" : "text"
}

/** Whether something is encoded as it is: everything but what schemas build anew, lists and structs. */
const passes = (ast: AST.AST, seen: Set<AST.AST>): boolean => {
  if (seen.has(ast)) return false
  seen.add(ast)
  const inner = (ast: AST.AST) => passes(ast, seen)
  switch (ast._tag) {
    case "UnknownKeyword":
    case "AnyKeyword":
    case "ObjectKeyword":
    case "Declaration":
      return true
    case "Suspend":
      return inner(ast.f())
    case "Refinement":
    case "Transformation":
      return inner(ast.from)
    case "Union":
      return ast.types.some(inner)
    case "TupleType":
      return [...ast.elements, ...ast.rest].some(({ type }) => inner(type))
    case "TypeLiteral":
      return [...ast.propertySignatures, ...ast.indexSignatures].some(({ type }) => inner(type))
    default:
      return false
  }
}

const hasRecord = (ast: AST.AST, seen: Set<AST.AST>): boolean => {
  if (seen.has(ast)) return false
  seen.add(ast)
  const inner = (ast: AST.AST) => hasRecord(ast, seen)
  switch (ast._tag) {
    case "Suspend":
      return inner(ast.f())
    case "Declaration":
      return ast.typeParameters.some(inner)
    case "Refinement":
      return inner(ast.from)
    case "Transformation":
      return inner(ast.from) || inner(ast.to)
    case "Union":
      return ast.types.some(inner)
    case "TupleType":
      return [...ast.elements, ...ast.rest].some(({ type }) => inner(type))
    case "TypeLiteral":
      return ast.indexSignatures.length > 0 || ast.propertySignatures.some(({ type }) => inner(type))
    default:
      return false
  }
}

export const makeCodec = (payload: Schema.Struct<any>, success: Schema.Schema.All, error: Schema.Schema.All): Codec => {
  const defaulted = Object.values(payload.fields).some(hasDefault)
  let result: Codec["result"] | undefined
  let shares: boolean | undefined
  let records: boolean | undefined
  let fields: Codec["fields"] | undefined
  return {
    encodePayload: encoder(payload),
    decodePayload: decoder(payload),
    encodeSuccess: encoder(success),
    decodeSuccess: decoder(success),
    encodeError: encoder(error),
    decodeError: decoder(error),
    get result() {
      result ??= resultOf(success)
      return result
    },
    get shares() {
      shares ??= passes(payload.ast, new Set())
      return shares
    },
    get records() {
      records ??= hasRecord(payload.ast, new Set())
      return records
    },
    get fields() {
      fields ??= fieldsOf(payload)
      return fields
    },
    withDefaults: defaulted ? (input) => payload.make(input, { disableValidation: true }) : (input) => input
  }
}

const fieldsOf = (payload: Schema.Schema.All): ReadonlyArray<string> => {
  const ast = AST.encodedAST(payload.ast)
  return AST.isTypeLiteral(ast) ? ast.propertySignatures.map(({ name }) => String(name)) : []
}

const literals = (ast: AST.AST): ReadonlyArray<unknown> =>
  AST.isLiteral(ast) ? [ast.literal] : AST.isUnion(ast) ? ast.types.flatMap(literals) : []

const tagsOf = (ast: AST.AST): ReadonlyArray<unknown> => {
  if (AST.isUnion(ast)) return ast.types.flatMap(tagsOf)
  if (AST.isSuspend(ast)) return tagsOf(ast.f())
  if (!AST.isTypeLiteral(ast)) return []
  return ast.propertySignatures.filter(({ name }) => name === "_tag").flatMap(({ type }) => literals(type))
}

/** Whether what a schema reads can be neither text nor bytes. */
const isNeither = (ast: AST.AST): boolean => {
  switch (ast._tag) {
    case "Refinement":
    case "Transformation":
      return isNeither(ast.from)
    case "Union":
      return ast.types.every(isNeither)
    case "Literal":
      return typeof ast.literal !== "string"
    case "NumberKeyword":
    case "BooleanKeyword":
    case "BigIntKeyword":
    case "TypeLiteral":
    case "TupleType":
      return true
    default:
      return false
  }
}

/** Throws where the definition of a program is written: its result could never be read. */
export const refuseUnreadable = (name: string, success: Schema.Schema.All): void => {
  if (isOutput(success) || !isNeither(success.ast)) return
  const message = `task ${name}: a program prints text, and this schema reads none; use Schema.NumberFromString, Schema.parseJson(schema), Schema.Uint8ArrayFromSelf or Task.Output`
  throw new ConfigurationError({ configKey: "success", reason: "InvalidOption", details: { task: name, message } })
}

/** Throws where the definition is written: such a program is wrong before it runs. */
export const refuseReserved = (name: string, error: Schema.Schema.All): void => {
  const tag = tagsOf(AST.encodedAST(error.ast)).find((tag) => reservedTags.has(String(tag)))
  if (tag === undefined) return
  throw new ConfigurationError({
    configKey: "error",
    reason: "ReservedTag",
    details: { task: name, message: `task ${name}: ${tag} is the tag of an effect-rhapsody error; rename your error` }
  })
}
