// Asks a running service three times, and prints what it answers as JSON: a decision, an error, and a batch's errors.
//
//	go run . 127.0.0.1:50051
package main

import (
	"context"
	"encoding/json"
	"log"
	"os"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pb "llmrouting.example/go/llmrouting/v1"
)

type failure struct {
	Code   int    `json:"code"`
	Reason string `json:"reason"`
	Field  string `json:"field"`
}

type printed struct {
	Model      string  `json:"model"`
	Tier       string  `json:"tier"`
	WinRate    float64 `json:"win_rate"`
	Threshold  float64 `json:"threshold"`
	Source     string  `json:"source"`
	Generation uint64  `json:"generation"`
	Bytes      uint64  `json:"bytes"`
	Failed     failure `json:"failed"`
	Item       failure `json:"item"`
}

func main() {
	connection, err := grpc.NewClient(os.Args[1], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()
	client := pb.NewRoutingServiceClient(connection)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()

	good := &pb.DecideRequest{
		Conversation: &pb.Conversation{Messages: []*pb.Message{{
			Role:    pb.Role_ROLE_USER,
			Content: []*pb.ContentPart{{Part: &pb.ContentPart_Text{Text: "Prove that √2 is irrational."}}},
		}}},
		Threshold: proto.Float64(0.5),
		Explain:   true,
	}
	bad := &pb.DecideRequest{Prompt: proto.String("Hi"), Threshold: proto.Float64(7)}

	answer, err := client.Decide(ctx, good)
	if err != nil {
		log.Fatal(err)
	}
	batch, err := client.BatchDecide(ctx, &pb.BatchDecideRequest{Requests: []*pb.DecideRequest{good, bad}})
	if err != nil {
		log.Fatal(err)
	}
	_, err = client.Decide(ctx, bad)

	decision, item := answer.GetDecision(), batch.GetResults()[1].GetError()
	json.NewEncoder(os.Stdout).Encode(printed{
		Model:      decision.GetModel(),
		Tier:       decision.GetTier().String(),
		WinRate:    decision.GetStrongWinRate(),
		Threshold:  decision.GetThreshold(),
		Source:     decision.GetSource().String(),
		Generation: decision.GetGeneration(),
		Bytes:      decision.GetExplanation().GetSpans()[0].GetEnd(),
		Failed:     failureOf(err),
		Item:       failure{int(item.GetCode()), item.GetReason().String(), item.GetField()},
	})
}

// failureOf reads a call's error: the status code, the reason in ErrorInfo, and the field in BadRequest.
func failureOf(err error) failure {
	call := status.Convert(err)
	read := failure{Code: int(call.Code())}
	for _, detail := range call.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			read.Reason = "ERROR_REASON_" + detail.GetReason()
		case *errdetails.BadRequest:
			read.Field = detail.GetFieldViolations()[0].GetField()
		}
	}
	return read
}
