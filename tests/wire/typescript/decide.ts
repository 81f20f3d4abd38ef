// Asks a running service three times, and prints what it answers as JSON: a decision, an error, and a batch's errors.
//
//   node dist/decide.js 127.0.0.1:50051
import { credentials, Metadata, type ServiceError } from "@grpc/grpc-js";
import { BinaryReader } from "@bufbuild/protobuf/wire";

import { Role } from "./llmrouting/v1/conversation.js";
import { scoreSourceToJSON, tierToJSON } from "./llmrouting/v1/decision.js";
import { errorReasonToJSON } from "./llmrouting/v1/error_reason.js";
import {
  type BatchDecideResponse,
  DecideRequest,
  type DecideResponse,
  RoutingServiceClient,
} from "./llmrouting/v1/routing_service.js";

type Callback<T> = (error: ServiceError | null, response: T) => void;

/** A call with a callback as a promise. */
function call<T>(make: (callback: Callback<T>) => unknown): Promise<T> {
  return new Promise((resolve, reject) => make((error, response) => (error ? reject(error) : resolve(response))));
}

/** The length-delimited fields of a message whose type this program has no code for, by number. */
function fields(bytes: Uint8Array): Map<number, Uint8Array[]> {
  const found = new Map<number, Uint8Array[]>();
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [number, type] = reader.tag();
    if (type === 2) {
      found.set(number, [...(found.get(number) ?? []), reader.bytes()]);
    } else {
      reader.skip(type, number);
    }
  }
  return found;
}

/**
 * Reads a call's error: the status code, the reason in ErrorInfo, and the field in BadRequest. They are in a
 * google.rpc.Status: field 3 has the details, each a google.protobuf.Any of type URL (1) and bytes (2).
 */
function failureOf(error: ServiceError) {
  const text = (bytes?: Uint8Array) => new TextDecoder().decode(bytes);
  const failed = { code: error.code as number, reason: "", field: "" };
  const [status] = error.metadata.get("grpc-status-details-bin") as Buffer[];
  for (const detail of fields(status).get(3) ?? []) {
    const any = fields(detail);
    const [type, value] = [text(any.get(1)?.[0]), fields(any.get(2)![0])];
    if (type.endsWith("/google.rpc.ErrorInfo")) {
      failed.reason = `ERROR_REASON_${text(value.get(1)?.[0])}`;
    } else if (type.endsWith("/google.rpc.BadRequest")) {
      failed.field = text(fields(value.get(1)![0]).get(1)?.[0]);
    }
  }
  return failed;
}

async function main(address: string): Promise<void> {
  const client = new RoutingServiceClient(address, credentials.createInsecure());
  const metadata = new Metadata();
  const options = { deadline: Date.now() + 30_000 };
  const good = DecideRequest.fromPartial({
    conversation: {
      messages: [
        { role: Role.ROLE_USER, content: [{ part: { $case: "text", value: "Prove that √2 is irrational." } }] },
      ],
    },
    threshold: 0.5,
    explain: true,
  });
  const bad = DecideRequest.fromPartial({ prompt: "Hi", threshold: 7 });

  const { decision } = await call<DecideResponse>((done) => client.decide(good, metadata, options, done));
  const batch = await call<BatchDecideResponse>((done) =>
    client.batchDecide({ requests: [good, bad] }, metadata, options, done),
  );
  const failed = await call<DecideResponse>((done) => client.decide(bad, metadata, options, done)).then(
    () => Promise.reject(new Error("a threshold of 7 was accepted")),
    failureOf,
  );
  const { result } = batch.results[1];
  if (decision === undefined || result?.$case !== "error") {
    throw new Error("the service answered without a decision, or a bad item without an error");
  }
  const { code, reason, field } = result.value;
  console.log(
    JSON.stringify({
      model: decision.model,
      tier: tierToJSON(decision.tier),
      win_rate: decision.strongWinRate,
      threshold: decision.threshold,
      source: scoreSourceToJSON(decision.source),
      generation: decision.generation,
      bytes: decision.explanation?.spans[0].end,
      failed,
      item: { code, reason: errorReasonToJSON(reason), field },
    }),
  );
  client.close();
}

await main(process.argv[2]);
