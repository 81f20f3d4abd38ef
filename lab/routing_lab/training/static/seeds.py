"""The short asks by topic that the project brings itself, in English and nine more languages."""

# ruff: noqa: E501, RUF001 - of other scripts, characters are wider, and the punctuation is meant

from __future__ import annotations

# One topic a paragraph; its asks are divided by bars.
ASKS = """
[code] Implement a skip list in Rust. | Write a lock-free queue in C++. | Implement a thread-safe connection pool in
Java. | Why does this recursive function overflow the stack? | Explain why this SQL query causes a deadlock and fix
it. | My pods are killed under load, what should I check? | Our service loses messages when the queue restarts;
analyse the causes and propose a fix. | Refactor this component to hooks. | Write a tokenizer and recursive descent
parser for JSON in Go. | Implement a B-tree with deletion. | Find the memory leak in this C program. | Optimise this
query with three joins that takes 40 seconds. | Write a script that merges two large sorted files without loading
them into memory. | Why is my Docker build slow and how do I cache the layers? | Write unit tests for this class
with mocks. | Implement topological sort and analyse its complexity. | Debug this segmentation fault. | Write a
regular expression for ISO dates and explain it. | Design a REST API for bookings with pagination and idempotency. |
Implement consistent hashing in Python. | Convert this callback code to async and await. | Write a Bash script that
rotates logs older than a week. | Explain the memory model of this lock-free code. | Write a binary search tree with
insertion and deletion in Python and explain its complexity. | Implement an LRU cache with expiry. | Write a
multithreaded web crawler in Java. | Why does this database query not use the index? | Write a query that finds gaps
in a sequence of dates. | Set up a CI pipeline that builds and deploys three services. | Write a function that finds
the shortest path in a weighted graph. | This regular expression backtracks forever, rewrite it. | Implement
quicksort in C and analyse the worst case. | Find the bug in this recursive function. | Fix the bug in this
multithreaded code. | Explain why this algorithm is O(n log n) and make it faster. | Write a CSV parser with error
handling.

[math] Prove that the square root of 3 is irrational. | Prove that there are infinitely many primes of the form
4k+3. | Prove that every bounded monotone sequence converges. | Show that the sum of the first n odd numbers is n
squared. | Find the eigenvalues of the matrix [[2,1],[1,3]]. | Solve the differential equation y' + 2y = e^x. |
Solve the system 2x + 3y = 7, 4x - y = 1. | Solve x^3 - 6x^2 + 11x - 6 = 0. | Compute the integral of x sin x. |
Evaluate the limit of (1 + 1/n)^n. | Find the determinant and inverse of this 3x3 matrix. | Three dice are rolled;
what is the probability that the sum is 10? | Five cards are drawn; what is the probability of exactly two aces? |
Calculate the probability of at least one six in four rolls. | Two trains start towards each other at 60 and 90
km/h; when do they meet? | Pipe A fills the tank in 3 hours and pipe B empties it in 5; how long does it take to
fill? | A price rises by 20% and then falls by 20%. What is the change? | How many words can be made from the
letters of MATHEMATICS? | How many ways are there to place 8 rooks on a chessboard? | Find the expected number of
tosses until two heads in a row. | Find all primes p such that p^2 + 2 is prime. | Determine the extrema of f(x) =
x^3 - 3x. | Compute the second derivative of ln(1 + x^2). | Prove by induction that 2^n > n^2 for n > 4. | Prove
that the angles of a triangle add up to 180 degrees. | A rectangle has perimeter 30 and area 50; find its sides. |
Find the radius of the circle inscribed in a triangle with sides 13, 14, 15.

[science] Derive the Euler-Lagrange equations. | Calculate the pH of a 0.01 M solution of acetic acid. | Find the
period of small oscillations of this pendulum. | Balance the redox reaction and explain each step. | Explain how
CRISPR edits a genome and its limits. | A particle moves in the potential ax^4; find the period as a function of
energy. | Explain the mechanism of an SN2 reaction. | Compute the escape velocity from Mars from its mass and
radius. | Why does superconductivity need Cooper pairs?

[data] Which regression would you use for this data and why? | Fit a model to these quarterly sales and explain the
residuals. | Compare the variance of the two estimators. | How do I test whether these two samples have the same
mean? | Build a pivot table and find the outliers. | Explain p-values and design an A/B test with enough power.

[reasoning] Twelve coins, one is fake: find it in three weighings. | Alice is taller than Bob, Bob is taller than
Carol; three statements, one is false. Who lies? | Five houses, five colours: who owns the fish? | Which conclusion
follows from these premises? | Find the flaw in this argument. | Find the shortest tour through these five cities
and show that it is the best.

[planning] Plan a two-week trip to Japan with a daily budget. | Make a project plan with milestones for a product
launch. | Make a training plan for a marathon. | Plan a weekly meal plan for a family of four. | Plan a three-day
conference.

[brainstorm] Give me ten names for a coffee shop. | Ideas for a birthday present for my father. | Suggest topics for
a podcast. | Name three fruits. | List five hobbies for winter. | Suggest a name for my cat. | Which film should I
watch tonight? | Recommend a good book. | Suggest an easy recipe for dinner. | Recommend a series to watch.

[creative] Write a short poem about the sea. | Write a short poem about winter. | Write a poem about autumn. | Write
a poem about snow. | Tell me a joke. | Tell me another joke. | Tell me a short story for children. | Tell me a fairy
tale. | Write birthday wishes for my grandmother. | Wish my sister a happy birthday. | Write a wedding toast. |
Write a rhyme about a cat. | Write a greeting card for Christmas. | Make up a riddle. | Tell me a bedtime story
about a dragon. | Write a tweet about coffee. | Write a song about friendship.

[info] What is the capital of Spain? | What is the capital of Norway? | Who painted the Mona Lisa? | Who wrote War
and Peace? | Who was the first prime minister of India? | Who was the first president of the United States? | How
high is Mount Everest? | How high is the Eiffel Tower? | When was Mozart born? | How long is the Nile? | What time
zone is Tokyo in? | What is the largest ocean? | Which country has the most people? | When does summer begin? | What
do pandas eat? | What is the population of Canada? | Who invented the telephone? | Where is the Louvre? | Who is the
author of Hamlet? | How old is the pyramid of Giza? | What language do they speak in Austria? | Tell me a fun fact.
| What is photosynthesis? | What year did the wall fall? | What is today's date? | What is the weather like?

[advice] What should I cook tonight? | What can I make for dinner? | How do I fall asleep faster? | How can I calm
my dog? | What should I wear to an interview? | How do I remove a coffee stain? | I feel tired, what can I do? | How
do I say no politely?

[editing] Fix the typo: teh cat. | Correct the spelling: I has a apple. | Rewrite this sentence politely: give me
the report. | Make this sentence shorter. | Put commas into this text. | Correct my grammar, please.

[common] Is a tomato a fruit? | Which word does not fit: cat, dog, table? | Put these words in alphabetical order:
pear, apple, fig. | What is the opposite of hot? | Is this review positive or negative: I loved it.

[roleplay] Pretend you are a pirate and greet me. | You are a shop assistant; ask me what I need. | Play the role of
my English teacher.

[summarize] Summarise this paragraph in one sentence: it rained all day and we stayed at home. | Give me the main
points of this text. | Summarise the tale of Cinderella in short. | Make a short summary of this article.

[chitchat] hi there | hello, how are you? | good morning | good evening | good night | thanks a lot | thank you so
much | many thanks | thank you | ok thanks | bye | see you later | what's up? | how's it going? | how are you doing?
| are you there? | nice to meet you | you are great | that was helpful | cool | great, thanks | no, that's all | can
you help me? | Hello, can you help me? | I have a question | yes | no | sure | sorry | welcome | happy new year |
who made you? | are you a robot?

[chitchat] buenos días | muchas gracias | ¿cómo estás? | доброе утро | большое спасибо | как ты? | buongiorno | come
stai? | chào buổi sáng | cảm ơn rất nhiều | bạn khỏe không? | dzień dobry | dziękuję bardzo | co słychać? | سلام،
حالت چطوره؟ | خیلی ممنون | صبح بخیر | 你好，你好吗？ | 谢谢 | 非常感谢 | 안녕하세요, 잘 지내세요? | 감사합니다 | 고마워 | god morgon | hur mår du?
| tack

[creative] cuéntame un chiste | escribe un cuento corto para niños | расскажи анекдот | напиши короткий стих о зиме
| raccontami una barzelletta | scrivi una poesia sull'autunno | kể một câu chuyện ngắn | viết bài thơ về biển |
opowiedz dowcip | napisz wiersz o zimie | یک داستان کوتاه برای کودکان بگو | شعری درباره دریا بنویس | 讲一个短故事 |
写一首关于大海的诗 | 짧은 이야기를 들려줘 | 바다에 대한 시를 써줘 | skriv en kort dikt om snö | berätta en saga

[brainstorm] recomiéndame una película | посоветуй книгу | consigliami un film | gợi ý một cuốn sách hay | poleć mi
książkę | یک فیلم خوب پیشنهاد بده | 推荐一本书 | 책 추천해줘 | rekommendera en film

[info] ¿Cuál es la capital de Noruega? | ¿Quién pintó Las Meninas? | Какая столица Испании? | Кто был первым
президентом США? | Qual è la capitale del Portogallo? | Chi ha scritto la Divina Commedia? | Thủ đô của Nhật Bản là
gì? | Ai là người viết Truyện Kiều? | Kto napisał Pana Tadeusza? | Jaka jest najdłuższa rzeka świata? | بلندترین کوه
جهان کدام است؟ | نویسنده شاهنامه کیست؟ | 日本的首都是哪里？ | 世界上最高的山是哪座？ | 프랑스의 수도는 어디야? | 세계에서 가장 높은 산은? | Vem skrev Röda
rummet? | Vilken är världens längsta flod?

[code] Implementa un árbol binario de búsqueda en Python y explica su complejidad. | ¿Por qué se bloquea este
programa con varios hilos? | Реализуй двоичное дерево поиска на Python и объясни сложность. | Найди ошибку в этой
рекурсивной функции и исправь её. | Implementa una coda thread-safe in Java. | Perché questa funzione ricorsiva va
in stack overflow? | Viết cây tìm kiếm nhị phân bằng Python và giải thích độ phức tạp. | Vì sao chương trình đa
luồng này bị treo? | Zaimplementuj kolejkę bezpieczną wątkowo w Javie. | Dlaczego to zapytanie SQL powoduje
zakleszczenie? | یک درخت جستجوی دودویی در پایتون بنویس. | چرا این برنامه چندنخی قفل می‌شود؟ | 用Java实现一个二叉搜索树并说明复杂度。
| 为什么这个递归函数会栈溢出？ | 자바로 이진 탐색 트리를 구현하고 복잡도를 설명해줘. | 이 재귀 함수의 버그를 찾아줘. | Implementera ett binärt sökträd i Python och
förklara komplexiteten. | Varför låser sig det här flertrådade programmet?

[math] Demuestra que la raíz de 3 es irracional. | ¿Cuál es la probabilidad de que la suma de tres dados sea 10? |
Докажите, что корень из 3 — иррациональное число. | Найдите вероятность того, что сумма трёх костей равна 10. |
Dimostra che esistono infiniti numeri primi. | Calcola la probabilità che la somma di tre dadi sia 10. | Chứng minh
căn bậc hai của 3 là số vô tỉ. | Tính xác suất tổng ba con xúc xắc bằng 10. | Udowodnij, że pierwiastek z 3 jest
niewymierny. | Rozwiąż układ równań 2x + y = 5, x - 3y = -8. | ثابت کنید که جذر ۳ گنگ است. | احتمال اینکه مجموع سه
تاس ۱۰ باشد چقدر است؟ | 证明根号3是无理数。 | 掷三个骰子，求点数和为10的概率。 | 루트 3이 무리수임을 증명하시오. | 주사위 세 개의 합이 10일 확률을 구하시오. | Bevisa att
roten ur 3 är irrationell. | Beräkna integralen av x sin x.
"""


def own_seeds() -> list[tuple[str, str]]:
    """Pairs of an ask and its topic."""
    found: list[tuple[str, str]] = []
    for paragraph in ASKS.strip().split("\n\n"):
        topic, _, asks = " ".join(paragraph.split()).removeprefix("[").partition("] ")
        found += [(ask, topic) for ask in asks.split(" | ")]
    return found
