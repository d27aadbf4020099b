#!/usr/bin/env python3
"""Writes the sample videos: the same ones each time. Every sentence here was made up for this project.

    python3 generate.py        writes the .json files beside it
"""
import hashlib
import json
import pathlib
import random

HERE = pathlib.Path(__file__).parent
NAMES = ("amber ash birch brook cedar clay cliff coral dale dawn dune echo elm ember fern finch flint frost glen "
         "grove hazel heath ivy jade juniper lake lark leaf luna maple marsh meadow mika moss nova oak olive opal "
         "pearl pine quill rain reed river robin rowan sage sky slate sol star stone storm sunny tide vale willow wren").split()

ENGLISH = {
    "praise": ["{t} is {good} here", "I love {t}, thank you", "{t} was {good}, best video on this so far",
               "Honestly {good}, {t} made my week", "{good} work, {t} is so satisfying to watch", "{t}! 😍 {good}",
               "came for the machine, stayed for {t}", "This is {good}. {t} deserves more views", "{t} is why I subscribed ❤️",
               "can't stop rewatching {t}, {good} stuff"],
    "critic": ["{t} is {bad}, sorry", "I don't like {t} at all", "{t} was {bad} and far too long", "{bad}. {t} ruined it for me",
               "great topic but {t} is {bad}", "why is {t} always {bad} on this channel", "{t} really hurts my ears 😡",
               "disappointed, {t} used to be better"],
    "question": ["Where did you buy {o}?", "How long did {t} take?", "What {o} do you use?", "Is {o} safe to use every day?",
                 "Does anyone know if {o} works with 110 volts?", "how do you clean {o} after that?", "What was the total cost with {o}?",
                 "Why did you replace {o} instead of repairing it?"],
    "wish": ["Please make a video about {o}", "You should show {t} in more detail", "Could you do a part 2 on {o}?",
             "I would love to see {o} next", "It would be great if you listed {o} in the description", "next time please explain {t} slower"],
    "neutral": ["my grandfather had {o} just like this one", "2:34 {t}", "watching this at 3 am for some reason",
                "so that is what {o} looks like inside", "we have {o} at work", "first", "here before a million views", "ok"],
    "spam": ["Check out my channel for free gift cards", "I earn money from home, text me on WhatsApp +1 555 0100",
             "Subscribe to my channel please https://bit.example/x1", "Visit my channel, I make the same but better!!!",
             "CRYPTO EXPERT changed my life, contact me on Telegram @example"],
    "good": ["amazing", "great", "wonderful", "brilliant", "fantastic", "beautiful", "excellent", "awesome"],
    "bad": ["terrible", "annoying", "awful", "boring", "horrible", "bad", "too loud and annoying"],
    "reply": ["I agree, {t} is {good}", "no, {t} is fine", "same here", "Thanks, that helped!", "he says it at 4:12",
              "I bought {o} online and it works", "that is wrong, {o} is different", "😂😂", "this ^", "exactly what I thought"],
}
SPANISH = {
    "praise": ["Me encanta {t}, gracias 😍", "{t} es {good}, qué buen video", "Muy {good} {t}, saludos desde México ❤️",
               "Por fin alguien explica bien {t} 👏", "{t} me quedó {good} a la primera", "Qué {good}, {t} se ve delicioso 😋"],
    "critic": ["No me gustó {t}, está {bad} 😡", "{t} es {bad}, no se entiende nada", "Me salió mal {t} 😢", "Muy {bad} {t} esta vez",
               "Demasiada publicidad y {t} {bad} 👎"],
    "question": ["¿Dónde compras {o}?", "¿Cuánto tiempo dura {t}?", "¿Se puede usar {o} sin gluten?", "¿Por qué no usas {o}?",
                 "Alguien sabe si {o} sirve igual?", "¿A qué temperatura va {o}?"],
    "wish": ["Haz un video sobre {o} por favor", "Deberías mostrar {t} más despacio", "Me gustaría ver {o} la próxima vez",
             "Estaría bien poner {o} en la descripción"],
    "neutral": ["Mi abuela hacía {o} todos los domingos", "Yo uso {o} en casa", "5:10 {t}", "Lo hago mañana", "primero", "aquí desde Chile"],
    "spam": ["Visita mi canal para ganar dinero fácil", "Suscríbete a mi canal y te devuelvo", "Gana dinero desde casa, escríbeme al WhatsApp",
             "Mira mi canal https://bit.example/es"],
    "good": ["genial", "increíble", "rico", "buenísimo", "espectacular", "hermoso"],
    "bad": ["malo", "aburrido", "horrible", "pésimo", "muy ruidoso"],
    "reply": ["Totalmente de acuerdo", "A mí también me pasó", "Gracias!", "Prueba con {o}", "no es verdad", "jajaja 😂"],
}
GERMAN = {
    "praise": ["{t} ist {good}, danke dafür ❤️", "Richtig {good} gemacht, besonders {t} 👍", "Ich liebe {t} in deinen Videos 😍",
               "{t} war {good}, da möchte man sofort los", "Endlich mal {good} erklärt, wie das mit {o} geht"],
    "critic": ["{t} ist leider {bad} 😡", "{t} fand ich {bad}, schade", "Ganz ehrlich: {t} war {bad} 👎", "Schade, dass {t} so {bad} ist 😢"],
    "question": ["Wie viel hat {o} gekostet?", "Wo kann man {o} buchen?", "Warum fährst du nicht mit {o}?", "Weiß jemand, ob {o} auch im Winter geht?",
                 "Wie lange dauert {t}?", "Gibt es {o} auch ab Hamburg?"],
    "wish": ["Mach doch mal ein Video über {o}", "Bitte mehr von {t}", "Du solltest {o} verlinken", "Könntest du {t} das nächste Mal länger zeigen?"],
    "neutral": ["Bin letztes Jahr auch mit {o} gefahren", "7:45 {t}", "Grüße aus Leipzig", "Erster", "wir fahren im Mai", "{o} kenne ich noch von früher"],
    "spam": ["Schaut auf meinem Kanal vorbei", "Geld verdienen von zu Hause, WhatsApp +49 000 000", "Abo gegen Abo?", "Folgt mir auf https://bit.example/de"],
    "good": ["großartig", "wunderbar", "super", "toll", "spannend", "klasse"],
    "bad": ["langweilig", "nervig", "schlecht", "viel zu laut", "unnötig"],
    "reply": ["Sehe ich auch so", "Stimmt nicht ganz", "Danke für den Tipp!", "Ging bei mir auch", "😂", "mit {o} klappt das"],
}
VIDEOS = [
    {"id": "LentlyEspr1", "title": "I restored a 40-year-old espresso machine", "channel": "Workshop Hours", "lang": "en",
     "set": ENGLISH, "count": 520, "others": [SPANISH, GERMAN], "published": 1764000000, "days": 120, "views": 184230,
     "topics": ["the sound design", "the sound design", "the camera work", "the background music", "the slow motion", "your voice",
                "the soldering", "the polished boiler", "the editing", "the first coffee", "the rust removal", "the intro"],
     "objects": ["that boiler", "the pressure gauge", "the descaling acid", "this grinder", "the gasket kit", "the brass polish",
                 "the steam valve", "the multimeter"]},
    {"id": "LentlyPanES", "title": "Pan de masa madre en casa, paso a paso", "channel": "La Miga", "lang": "es",
     "set": SPANISH, "count": 430, "others": [ENGLISH], "published": 1758000000, "days": 200, "views": 96411,
     "topics": ["la masa madre", "la masa madre", "la corteza", "el horno", "la miga", "el amasado", "la música", "la explicación", "el corte"],
     "objects": ["harina integral", "la olla de hierro", "la sal marina", "el banetón", "la levadura", "la piedra del horno", "harina de centeno"]},
    {"id": "LentlyZugDE", "title": "Mit dem Nachtzug nach Lissabon: lohnt sich das?", "channel": "Gleis Neun", "lang": "de",
     "set": GERMAN, "count": 360, "others": [ENGLISH], "published": 1770000000, "days": 40, "views": 51877,
     "topics": ["der Schlafwagen", "der Schlafwagen", "die Aussicht", "der Speisewagen", "die Musik", "der Ton", "die Planung", "das Frühstück"],
     "objects": ["dem Interrail-Ticket", "dem Liegewagen", "die Reservierung", "dem Fahrrad", "die Bahncard", "dem Nachtzug"]},
]


def comment_id(random_, parent=None):
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    own = "".join(random_.choice(letters) for _ in range(18 if parent is None else 22))
    return f"Ug{own}4AaABAg" if parent is None else f"{parent}.{own}"


def sentence(random_, words, kind, video):
    text = random_.choice(words[kind]).format(
        t=random_.choice(video["topics"]), o=random_.choice(video["objects"]),
        good=random_.choice(words["good"]), bad=random_.choice(words["bad"]))
    roll = random_.random()
    if kind == "praise" and roll < 0.15:
        text += random_.choice([" 🔥", " 👏👏", " ❤️", "!!!", " 😊"])
    elif kind != "spam" and roll > 0.93:
        text = text.upper() if roll > 0.98 else text.lower()
    return text[0].upper() + text[1:] if random_.random() < 0.7 else text


def make(video):
    random_ = random.Random(hashlib.sha256(video["id"].encode()).digest())
    kinds = ["praise"] * 40 + ["critic"] * 15 + ["question"] * 14 + ["wish"] * 9 + ["neutral"] * 18 + ["spam"] * 4
    comments, threads = [], 0
    while len(comments) < video["count"]:
        kind = random_.choice(kinds)
        words = random_.choice(video["others"]) if random_.random() < 0.06 and kind in ("praise", "critic") else video["set"]
        # Most comments come in the first days.
        at = int(video["published"] + video["days"] * 86400 * random_.random() ** 3)
        likes = 0 if kind == "spam" else int(random_.paretovariate(0.9)) - 1
        top = {"id": comment_id(random_), "a": author(random_), "t": sentence(random_, words, kind, video),
               "l": min(likes, 4200), "p": at}
        comments.append(top)
        replies = 112 if threads == 3 else random_.choice([0] * 14 + [1, 1, 2, 3, 7])
        threads += 1
        for _ in range(min(replies, video["count"] - len(comments))):
            at += random_.randrange(60, 90000)
            comments.append({"id": comment_id(random_, top["id"]), "r": top["id"], "a": author(random_),
                             "t": sentence(random_, video["set"], "reply", video), "l": int(random_.paretovariate(1.2)) - 1, "p": at})
    return comments


def author(random_):
    return f"@{random_.choice(NAMES)}-{random_.choice(NAMES)}{random_.randrange(10, 9999)}"


def write(name, video, comments, disabled=False):
    seed = hashlib.sha256(video["id"].encode()).hexdigest()
    body = {"video": {"id": video["id"], "title": video["title"], "channel": video["channel"], "channel_id": "UC" + seed[:22],
                      "description": "A sample video of Lently's emulator.", "published": video["published"],
                      "duration": 300 + int(seed[:3], 16), "views": video["views"], "likes": video["views"] // 27,
                      "language": video["lang"]},
            "comments_disabled": disabled, "comments": comments}
    lines = ",\n".join(json.dumps(comment, ensure_ascii=False, separators=(",", ":")) for comment in comments)
    head = json.dumps({key: body[key] for key in ("video", "comments_disabled")}, ensure_ascii=False, separators=(",", ":"))
    (HERE / name).write_text(head[:-1] + ',"comments":[\n' + lines + "\n]}\n", encoding="utf-8")


for video in VIDEOS:
    write(f"{video['lang']}.json", video, make(video))
write("disabled.json", {"id": "LentlyQuiet", "title": "A walk through the old town at dawn (no comments)", "channel": "Slow Streets", "lang": "en",
                        "published": 1760000000, "views": 8120}, [], disabled=True)
