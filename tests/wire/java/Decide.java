import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.Status;
import example.llmrouting.v1.BatchDecideRequest;
import example.llmrouting.v1.ContentPart;
import example.llmrouting.v1.Conversation;
import example.llmrouting.v1.DecideRequest;
import example.llmrouting.v1.Decision;
import example.llmrouting.v1.ItemError;
import example.llmrouting.v1.Message;
import example.llmrouting.v1.Role;
import example.llmrouting.v1.RoutingServiceGrpc;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.util.Locale;
import java.util.concurrent.TimeUnit;

/**
 * Asks a running service three times, and prints what it answers as JSON: a decision, an error, and a batch's errors.
 *
 * <p>Its only argument is the service's address, HOST:PORT.
 */
public final class Decide {
  private record Failure(int code, String reason, String field) {
    String json() {
      return "{\"code\": %d, \"reason\": \"%s\", \"field\": \"%s\"}".formatted(code, reason, field);
    }
  }

  public static void main(String[] arguments) throws Exception {
    ManagedChannel channel = Grpc.newChannelBuilder(arguments[0], InsecureChannelCredentials.create()).build();
    try {
      var client = RoutingServiceGrpc.newBlockingStub(channel).withDeadlineAfter(30, TimeUnit.SECONDS);
      DecideRequest good =
          DecideRequest.newBuilder()
              .setConversation(
                  Conversation.newBuilder()
                      .addMessages(
                          Message.newBuilder()
                              .setRole(Role.ROLE_USER)
                              .addContent(ContentPart.newBuilder().setText("Prove that √2 is irrational."))))
              .setThreshold(0.5)
              .setExplain(true)
              .build();
      DecideRequest bad = DecideRequest.newBuilder().setPrompt("Hi").setThreshold(7).build();

      Decision decision = client.decide(good).getDecision();
      ItemError item =
          client
              .batchDecide(BatchDecideRequest.newBuilder().addRequests(good).addRequests(bad).build())
              .getResults(1)
              .getError();
      Failure failed;
      try {
        client.decide(bad);
        throw new AssertionError("a threshold of 7 was accepted");
      } catch (StatusRuntimeException error) {
        failed = failureOf(error);
      }
      System.out.printf(
          Locale.ROOT,
          "{\"model\": \"%s\", \"tier\": \"%s\", \"win_rate\": %s, \"threshold\": %s, \"source\": \"%s\","
              + " \"generation\": %d, \"bytes\": %d, \"failed\": %s, \"item\": %s}%n",
          decision.getModel(),
          decision.getTier(),
          decision.getStrongWinRate(),
          decision.getThreshold(),
          decision.getSource(),
          decision.getGeneration(),
          decision.getExplanation().getSpans(0).getEnd(),
          failed.json(),
          new Failure(item.getCode(), item.getReason().name(), item.getField()).json());
    } finally {
      channel.shutdownNow().awaitTermination(5, TimeUnit.SECONDS);
    }
  }

  /** Reads a call's error: the status code, the reason in ErrorInfo, and the field in BadRequest. */
  private static Failure failureOf(StatusRuntimeException error) throws InvalidProtocolBufferException {
    Status status = StatusProto.fromThrowable(error);
    String reason = "";
    String field = "";
    for (var detail : status.getDetailsList()) {
      if (detail.is(ErrorInfo.class)) {
        reason = "ERROR_REASON_" + detail.unpack(ErrorInfo.class).getReason();
      } else if (detail.is(BadRequest.class)) {
        field = detail.unpack(BadRequest.class).getFieldViolations(0).getField();
      }
    }
    return new Failure(status.getCode(), reason, field);
  }
}
