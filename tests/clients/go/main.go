// grpc-go against a Sampan server: every shape of call, deadlines, cancels, many at once.
//
//	clients ADDRESS ROOT: ROOT is the project's folder, for its .proto files
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/bufbuild/protocompile"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

const (
	protoFile = "sampan/testing/v1/echo.proto"
	path      = "/sampan.testing.v1.Echo/"
	limit     = 20 * time.Second
)

type client struct {
	conn  *grpc.ClientConn
	types protoreflect.MessageDescriptors
}

func (c client) make(name, json string) *dynamicpb.Message {
	message := dynamicpb.NewMessage(c.types.ByName(protoreflect.Name(name)))
	if err := protojson.Unmarshal([]byte(json), message); err != nil {
		panic(err)
	}
	return message
}

func (c client) unary(ctx context.Context, json string, options ...grpc.CallOption) (*dynamicpb.Message, error) {
	answer := c.make("EchoResponse", "{}")
	return answer, c.conn.Invoke(ctx, path+"Unary", c.make("EchoRequest", json), answer, options...)
}

func (c client) stream(ctx context.Context, method string) (grpc.ClientStream, error) {
	shape := &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}
	return c.conn.NewStream(ctx, shape, path+method)
}

func (c client) receive(stream grpc.ClientStream) (*dynamicpb.Message, error) {
	answer := c.make("EchoResponse", "{}")
	return answer, stream.RecvMsg(answer)
}

func text(message *dynamicpb.Message) string {
	return message.Get(message.Descriptor().Fields().ByName("text")).String()
}

func index(message *dynamicpb.Message) uint64 {
	return message.Get(message.Descriptor().Fields().ByName("index")).Uint()
}

func same[T comparable](what string, found, wanted T) error {
	if found != wanted {
		return fmt.Errorf("%s: %v instead of %v", what, found, wanted)
	}
	return nil
}

// Every case: its name is what holds.
var cases = []struct {
	name string
	run  func(context.Context, client) error
}{
	{"unary is answered, with its metadata", func(ctx context.Context, c client) error {
		ctx = metadata.AppendToOutgoingContext(ctx, "echo-note", "as sent", "echo-raw-bin", "\x00\xff\x01")
		var head metadata.MD
		answer, err := c.unary(ctx, `{"text":"grüß dich"}`, grpc.Header(&head))
		if err != nil {
			return err
		}
		if err := same("note", strings.Join(head.Get("echo-note"), ","), "as sent"); err != nil {
			return err
		}
		if err := same("raw", strings.Join(head.Get("echo-raw-bin"), ","), "\x00\xff\x01"); err != nil {
			return err
		}
		return same("text", text(answer), "grüß dich")
	}},
	{"a server stream is answered to its end", func(ctx context.Context, c client) error {
		stream, err := c.stream(ctx, "ServerStream")
		if err != nil {
			return err
		}
		if err := stream.SendMsg(c.make("StreamRequest", `{"text":"tick","count":100}`)); err != nil {
			return err
		}
		if err := stream.CloseSend(); err != nil {
			return err
		}
		for wanted := range uint64(100) {
			answer, err := c.receive(stream)
			if err != nil {
				return err
			}
			if err := same("index", index(answer), wanted); err != nil {
				return err
			}
		}
		_, err = c.receive(stream)
		return same("end", err, io.EOF)
	}},
	{"a client stream is answered once", func(ctx context.Context, c client) error {
		stream, err := c.stream(ctx, "ClientStream")
		if err != nil {
			return err
		}
		for range 50 {
			if err := stream.SendMsg(c.make("EchoRequest", `{"text":"part"}`)); err != nil {
				return err
			}
		}
		if err := stream.CloseSend(); err != nil {
			return err
		}
		answer, err := c.receive(stream)
		if err != nil {
			return err
		}
		return same("index", index(answer), 50)
	}},
	{"a bidirectional stream answers each request before the next", func(ctx context.Context, c client) error {
		stream, err := c.stream(ctx, "Bidi")
		if err != nil {
			return err
		}
		for _, said := range []string{"one", "two", "three"} {
			if err := stream.SendMsg(c.make("EchoRequest", `{"text":"`+said+`"}`)); err != nil {
				return err
			}
			answer, err := c.receive(stream)
			if err != nil {
				return err
			}
			if err := same("text", text(answer), said); err != nil {
				return err
			}
		}
		if err := stream.CloseSend(); err != nil {
			return err
		}
		_, err = c.receive(stream)
		return same("end", err, io.EOF)
	}},
	{"an empty request stream ends cleanly", func(ctx context.Context, c client) error {
		stream, err := c.stream(ctx, "Bidi")
		if err != nil {
			return err
		}
		if err := stream.CloseSend(); err != nil {
			return err
		}
		_, err = c.receive(stream)
		return same("end", err, io.EOF)
	}},
	{"a failure has its code and its message", func(ctx context.Context, c client) error {
		request := c.make("FailRequest", `{"code":5,"message":"größer ☺"}`)
		err := c.conn.Invoke(ctx, path+"Fail", request, c.make("EchoResponse", "{}"))
		return same("status", status.Convert(err).String(), status.New(codes.NotFound, "größer ☺").String())
	}},
	{"a deadline ends a call", func(ctx context.Context, c client) error {
		ctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		defer cancel()
		_, err := c.unary(ctx, `{"delay":"10s"}`)
		return same("code", status.Code(err), codes.DeadlineExceeded)
	}},
	{"a cancelled stream ends, and the connection serves on", func(ctx context.Context, c client) error {
		cancelled, cancel := context.WithCancel(ctx)
		defer cancel()
		stream, err := c.stream(cancelled, "Bidi")
		if err != nil {
			return err
		}
		cancel()
		if _, err := c.receive(stream); status.Code(err) != codes.Canceled {
			return err
		}
		answer, err := c.unary(ctx, `{"text":"still there"}`)
		if err != nil {
			return err
		}
		return same("text", text(answer), "still there")
	}},
	{"a message of 4 MB passes and one over 4 MiB is refused", func(ctx context.Context, c client) error {
		large := c.make("EchoRequest", `{}`)
		payload := large.Descriptor().Fields().ByName("payload")
		large.Set(payload, protoreflect.ValueOfBytes(make([]byte, 4_000_000)))
		answer := c.make("EchoResponse", "{}")
		if err := c.conn.Invoke(ctx, path+"Unary", large, answer); err != nil {
			return err
		}
		large.Set(payload, protoreflect.ValueOfBytes(make([]byte, 5<<20)))
		err := c.conn.Invoke(ctx, path+"Unary", large, answer)
		return same("code", status.Code(err), codes.ResourceExhausted)
	}},
	{"ten thousand calls, 64 at a time, are all answered", func(ctx context.Context, c client) error {
		wrong := make(chan error, 64)
		var all sync.WaitGroup
		for range 64 {
			all.Go(func() {
				for range 10_000 / 64 {
					if _, err := c.unary(ctx, `{"text":"many"}`); err != nil {
						wrong <- err
						return
					}
				}
			})
		}
		all.Wait()
		close(wrong)
		return <-wrong
	}},
}

func main() {
	address, root := os.Args[1], os.Args[2]
	compiler := protocompile.Compiler{Resolver: protocompile.WithStandardImports(&protocompile.SourceResolver{
		ImportPaths: []string{filepath.Join(root, "crates/sampan-testing/proto"), filepath.Join(root, "proto")},
	})}
	files, err := compiler.Compile(context.Background(), protoFile)
	if err != nil {
		panic(err)
	}
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		panic(err)
	}
	c := client{conn, files[0].Messages()}
	passed, failed := 0, 0
	for _, one := range cases {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		err := one.run(ctx, c)
		cancel()
		if err == nil {
			passed++
			continue
		}
		failed++
		fmt.Printf("FAILED grpc-go to %s, %s: %v\n", address, one.name, err)
	}
	fmt.Printf("grpc-go: %d passed, %d failed\n", passed, failed)
	if failed > 0 {
		os.Exit(1)
	}
}
