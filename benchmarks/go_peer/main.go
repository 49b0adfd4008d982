// A cached detail read as one writes it in Go: fasthttp, rueidis, one GET a request.
//
// GET /api/v1/cards/ID answers the string at bare:ID of Redis. With PEER_MODE=near it is read through rueidis'
// client-side cache. REDIS is host:port, PASSWORD may be empty.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/redis/rueidis"
	"github.com/valyala/fasthttp"
)

const path = "/api/v1/cards/"

func main() {
	near := os.Getenv("PEER_MODE") == "near"
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress:  []string{os.Getenv("REDIS")},
		Password:     os.Getenv("PASSWORD"),
		DisableCache: !near,
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	read := func(key string) ([]byte, error) {
		get := client.B().Get().Key(key)
		if near {
			return client.DoCache(context.Background(), get.Cache(), time.Minute).AsBytes()
		}
		return client.Do(context.Background(), get.Build()).AsBytes()
	}
	answer := func(request *fasthttp.RequestCtx) {
		body, err := read("bare:" + strings.TrimPrefix(string(request.Path()), path))
		if err != nil {
			request.SetStatusCode(fasthttp.StatusNotFound)
			return
		}
		request.SetContentType("application/json")
		request.SetBody(body)
	}
	err = fasthttp.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), answer)
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
