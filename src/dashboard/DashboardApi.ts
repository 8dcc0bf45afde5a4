/**
 * The dashboard's HTTP API for programs, built from the table of operator
 * requests. `HttpApiClient.make(DashboardApi)` is a client of it. The server
 * offers its OpenAPI description at `/openapi.json`.
 *
 * @since 0.1.0
 */
import * as HttpApi from "@effect/platform/HttpApi"
import * as HttpApiEndpoint from "@effect/platform/HttpApiEndpoint"
import * as HttpApiGroup from "@effect/platform/HttpApiGroup"
import * as HttpApiMiddleware from "@effect/platform/HttpApiMiddleware"
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import * as HttpApiSecurity from "@effect/platform/HttpApiSecurity"
import * as OpenApi from "@effect/platform/OpenApi"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import { type Definition, type Result, requests, type Served, type Table } from "../operate/OperatorRequests.js"
import { Defect, Failed, Forbidden, NotFound, Refused, Unauthorized, Unavailable } from "./DashboardError.js"
import { decodeId, encodeId } from "./PathId.js"

/**
 * Reads need the token, unless the dashboard's `reads` are `open`.
 *
 * @since 0.1.0
 * @category middleware
 */
export class Reader extends HttpApiMiddleware.Tag<Reader>()("effect-recovery/Dashboard/Reader", {
  failure: Unauthorized,
  security: { token: HttpApiSecurity.bearer }
}) {}

/**
 * Actions always need the token.
 *
 * @since 0.1.0
 * @category middleware
 */
export class Actor extends HttpApiMiddleware.Tag<Actor>()("effect-recovery/Dashboard/Actor", {
  failure: Schema.Union(Unauthorized, Forbidden),
  security: { token: HttpApiSecurity.bearer }
}) {}

/**
 * An id is any well-formed text. The client encodes it for the path, since the
 * URL parsers in between change some texts; the server's router decodes the rest.
 */
const Id = Schema.Struct({
  id: Schema.transformOrFail(Schema.String, Schema.String, {
    strict: true,
    decode: (segment) => ParseResult.succeed(decodeId(segment)),
    encode: (id, _, ast) =>
      ParseResult.try({
        try: () => encodeId(id),
        catch: () => new ParseResult.Type(ast, id, "An id must not contain half of a surrogate pair.")
      })
  }).annotations({
    description: "The id. One that begins with ~, and the ids . and .., are written with a ~ before them."
  })
})

/** The fields of a request without the one that is in the path. */
type Fields<T extends Served> = Omit<Schema.Struct.Type<Table[T]["payload"]>, Table[T]["route"]["id"] & string>
type FieldsOrNever<T extends Served> = keyof Fields<T> extends never ? never : Fields<T>

/** The endpoint of a request: its name, path and fields are those of its row in the table. */
type Endpoint<T extends Served> = HttpApiEndpoint.HttpApiEndpoint<
  Table[T]["route"]["name"],
  Table[T]["writes"] extends true ? "POST" : "GET",
  Table[T]["route"]["id"] extends string ? typeof Id.Type : never,
  Table[T]["writes"] extends true ? never : FieldsOrNever<T>,
  Table[T]["writes"] extends true ? FieldsOrNever<T> : never,
  never,
  Result<T>
>

type Endpoints<Writes extends boolean> = {
  [T in Served]: Table[T]["writes"] extends Writes ? Endpoint<T> : never
}[Served]

/** @internal */
export interface ServedRow extends Definition {
  readonly tag: Served
  readonly route: NonNullable<Definition["route"]>
}

/**
 * The rows of the table that have a route.
 *
 * @internal
 */
export const served: ReadonlyArray<ServedRow> = Object.entries<Definition>(requests).flatMap(([tag, row]) =>
  // A row with a route is what `Served` selects.
  row.route === undefined ? [] : [{ ...row, tag: tag as Served, route: row.route }]
)

const endpointOf = ({ payload, reply, route, writes }: ServedRow): HttpApiEndpoint.HttpApiEndpoint.Any => {
  const fields = Object.fromEntries(Object.entries(payload).filter(([name]) => name !== route.id))
  const plain = HttpApiEndpoint.make(writes ? "POST" : "GET")(route.name, route.path).addSuccess(reply)
  const endpoint = route.id === undefined ? plain : plain.setPath(Id)
  if (Object.keys(fields).length === 0) return endpoint
  const schema = Schema.Struct(fields)
  return writes ? endpoint.setPayload(schema) : endpoint.setUrlParams(schema)
}

const withEndpoints = <Id extends string, E extends HttpApiEndpoint.HttpApiEndpoint.Any, const Writes extends boolean>(
  group: HttpApiGroup.HttpApiGroup<Id, E, never>,
  writes: Writes
) =>
  served
    .filter((row) => row.writes === writes)
    .reduce<HttpApiGroup.HttpApiGroup<Id, HttpApiEndpoint.HttpApiEndpoint.Any, never>>(
      (all, row) => all.add(endpointOf(row)),
      group
      // `Endpoint` and `endpointOf` derive the same endpoint from a row, as a type and as a value.
    ) as HttpApiGroup.HttpApiGroup<Id, E | Endpoints<Writes>, never>

const Text = Schema.optional(Schema.String.pipe(Schema.maxLength(10_000)))

/**
 * The reads of the table, what the server is, and the stream of changes.
 *
 * @since 0.1.0
 * @category groups
 */
export const Reads = withEndpoints(
  HttpApiGroup.make("reads")
    .add(
      HttpApiEndpoint.get("about", "/about").addSuccess(
        Schema.Struct({ readonly: Schema.Boolean, where: Schema.UndefinedOr(Schema.String) })
      )
    )
    .add(
      // Server-sent events with JSON data, one per change: "overview", and of the named run "run" and "timeline".
      HttpApiEndpoint.get("live", "/live")
        .addSuccess(HttpApiSchema.Text({ contentType: "text/event-stream" }))
        .setUrlParams(Schema.Struct({ repository: Text, run: Text }))
    ),
  false
)
  .prefix("/api")
  .middleware(Reader)

/**
 * The writes of the table. An action continues if its client disconnects.
 *
 * @since 0.1.0
 * @category groups
 */
export const Actions = withEndpoints(HttpApiGroup.make("actions"), true).prefix("/api").middleware(Actor)

/**
 * The metrics, in the text format of Prometheus.
 *
 * @since 0.1.0
 * @category groups
 */
export const Metrics = HttpApiGroup.make("metrics")
  .add(
    HttpApiEndpoint.get("metrics", "/metrics").addSuccess(
      HttpApiSchema.Text({ contentType: "text/plain; version=0.0.4" })
    )
  )
  .middleware(Reader)

/**
 * @since 0.1.0
 * @category api
 */
export class DashboardApi extends HttpApi.make("effect-recovery")
  .add(Reads)
  .add(Actions)
  .add(Metrics)
  .addError(NotFound)
  .addError(Refused)
  .addError(Failed)
  .addError(Unavailable)
  .addError(Defect)
  .annotate(OpenApi.Title, "effect-recovery")
  .annotate(OpenApi.Description, "Shows failures, recoveries and runs, and acts on them.") {}
